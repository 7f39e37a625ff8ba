"""The variants that are timed compute the same; wrong settings are refused."""

from dataclasses import replace

import pytest
import torch
from mmpretrain.models.utils.sparse_modules import SparseHelper

from hgkd_mm.errors import ConfigError
from hgkd_mm.sparse.spconv.library import has_spconv
from hgkd_mm.speed.backbones import measure_backbones
from hgkd_mm.speed.encoder import (
    Setting,
    available,
    build,
    describe,
    measure_encoder,
    measure_scaling,
    random_visible,
)
from hgkd_mm.speed.memory import peak_memory
from hgkd_mm.speed.report import machine

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
        (Setting(device='tpu'), "device 'tpu': expected one of cpu, cuda"),
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


def test_the_words_for_a_gpu_say_tf32_instead_of_threads(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', True)
    assert describe(replace(SMALL, device='cuda')).endswith('batch 2, float32, TF32 allowed in convolutions')
    assert describe(replace(SMALL, device='cuda', amp=True)).endswith('batch 2, bfloat16 autocast')


@pytest.mark.parametrize('measure', [measure_encoder, measure_scaling, measure_backbones])
def test_a_gpu_that_is_not_there_is_an_error(measure, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ConfigError, match="device 'cuda': found no GPU"):
        measure(replace(SMALL, device='cuda'))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('amp', [False, True])
def test_a_gpu_is_measured(amp):
    setting = replace(SMALL, device='cuda', amp=amp)
    rows = measure_encoder(setting, rounds=1, variants=['dense', 'mmpretrain', 'masked', 'packed'])
    assert all(row['step_ms'] > 0 for row in rows)
    network, forward = build(setting, 'packed')
    images = torch.randn(2, 3, 64, 64, device='cuda')
    assert all(feat.is_cuda for feat in forward(images, random_visible(setting).cuda()))
    assert peak_memory(setting, 'packed') > 1
    assert machine('cuda')['gpu'] == torch.cuda.get_device_name()
