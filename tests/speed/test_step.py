"""Whole pretraining steps train what they say."""

import pytest
import torch

from hgkd_mm.errors import ConfigError
from hgkd_mm.speed.encoder import Setting
from hgkd_mm.speed.step import hgkd_step, measure_step, spark_step

SMALL = Setting('ResNet-18', batch_size=2, img_size=64, visible=2, threads=1)


@pytest.mark.slow
def test_live_and_cached_teachers_give_the_same_losses_that_go_down():
    losses = []
    for is_cached in (False, True):
        torch.manual_seed(0)
        with hgkd_step(SMALL, is_cached) as step:
            losses.append([float(step()) for _ in range(6)])
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)  # the cache holds float16
    assert losses[0][-1] < losses[0][0]


@pytest.mark.slow
def test_the_peer_trains():
    step = spark_step(SMALL)
    losses = [float(step()) for _ in range(6)]
    assert losses[-1] < losses[0]


def test_a_model_without_a_peer_is_refused():
    with pytest.raises(ConfigError, match="mmpretrain's SparK has no MobileNetV2: choose one of ResNet-18"):
        measure_step(Setting('MobileNetV2'))
