"""The variants that are timed compute the same; wrong settings are refused."""

import pytest
import torch
from mmpretrain.models.utils.sparse_modules import SparseHelper

from hgkd_mm.errors import ConfigError
from hgkd_mm.sparse.spconv.library import has_spconv
from hgkd_mm.speed.encoder import (
    Setting,
    available,
    build,
    describe,
    measure_encoder,
    measure_scaling,
    random_visible,
)

SMALL = Setting('ResNet-18', batch_size=2, img_size=64, visible=2, threads=1)


def test_the_peer_and_the_backends_compute_the_same():
    torch.manual_seed(0)  # some draws leave a channel with next to no variance
    visible, images = random_visible(SMALL), torch.randn(2, 3, 64, 64)
    assert visible.flatten(1).sum(1).tolist() == [2, 2]
    stages = {}
    for variant in available('ResNet-18'):
        if variant == 'spconv' and not has_spconv():
            continue
        network, forward = build(SMALL, variant)
        if variant == 'dense':
            state = network.state_dict()
            continue
        network.load_state_dict(state)
        stages[variant] = forward(images, visible)
    SparseHelper._cur_active = None
    assert list(stages)[:3] == ['mmpretrain', 'masked', 'packed']
    for variant, found in stages.items():
        for one, other in zip(found, stages['masked'], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=variant)


def test_measurements_have_a_row_a_variant():
    threads = torch.get_num_threads()
    rows = measure_encoder(SMALL, rounds=1, variants=['dense', 'packed'])
    assert [row['variant'] for row in rows] == ['dense', 'packed']
    assert all(row['forward_ms'] > 0 and row['step_ms'] > 0 for row in rows)
    assert torch.get_num_threads() == threads


def test_scaling_takes_whole_patches_and_ends_with_the_whole_image():
    rows = measure_scaling(SMALL, rounds=1, fractions=(0.1, 0.2, 0.5), img_sizes=(64, 96))
    counts = {64: [1, 2, 4], 96: [1, 2, 4, 9]}
    assert [(row['img_size'], row['visible']) for row in rows] == [(n, c) for n in counts for c in counts[n]]
    assert [row['relative'] == 1 for row in rows] == [False, False, True, False, False, False, True]


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        (Setting('ResNet-17'), "unknown model 'ResNet-17'"),
        (Setting(img_size=100), 'image size 100'),
        (Setting(img_size=64, visible=5), '5 visible patches: expected 1 to 4'),
    ],
)
def test_wrong_settings_are_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        measure_encoder(setting)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ConfigError, match='unknown variant magic: choose of dense, mmpretrain'):
        measure_encoder(SMALL, variants=['magic'])


def test_the_setting_in_words():
    assert describe(SMALL) == 'ResNet-18, 64 px, 2 of 4 patches visible, batch 2, float32, 1 threads'
