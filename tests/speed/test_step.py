"""Whole pretraining steps train what they say."""

from dataclasses import replace

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


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('amp', [False, True])
def test_on_a_gpu_all_methods_are_timed(amp):
    rows = measure_step(replace(SMALL, device='cuda', amp=amp), rounds=1)
    assert len(rows) == 3 and all(row['images_per_s'] > 0 for row in rows)


def test_without_a_gpu_that_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ConfigError, match="device 'cuda': found no GPU"):
        measure_step(replace(SMALL, device='cuda'))
