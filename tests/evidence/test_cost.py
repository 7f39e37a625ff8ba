import json

import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import VisionTransformer
from torch import nn

from hgkd_mm.errors import ConfigError, RecordError
from hgkd_mm.evidence.cost import Arithmetic, finetuning_cost, measured_teraflops, pretraining_cost, vit_gmacs
from hgkd_mm.speed.step import LIVE

STUDENT = dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8, out_indices=(0, 1, 2, 3))


def config(mask_ratio):
    return Config(
        dict(
            default_scope='hgkd_mm',
            img_size=128,
            patch_size=32,
            mask_ratio=mask_ratio,
            teacher_img_size=224,
            train_cfg=dict(max_epochs=2),
            custom_hooks=[dict(type='ResultHook', protocol=dict(resolution=128))],
            model=dict(
                type='HGKD',
                data_preprocessor=dict(type='mmpretrain.SelfSupDataPreprocessor'),
                backbone=STUDENT,
                neck=dict(type='UNetDecoder', in_channels=[8, 16, 32, 64], channels=[16, 24], out_level=2),
                head=dict(type='TokenDistillationHead', in_channels=16, embed_dims=768),
            ),
        )
    )


def _by_hooks(network, image):
    """Products of every convolution and linear layer, taps over zeros included."""
    total = 0

    def count(layer, inputs, out):
        nonlocal total
        places = out[0, 0].numel() if isinstance(layer, nn.Conv2d) else out[0, ..., 0].numel()
        total += layer.weight.numel() * places

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network.eval()  # returns None in mmpretrain
    with torch.no_grad():
        network(image)
    return total


def test_transformer_is_counted_as_its_layers_and_its_attention():
    vit = VisionTransformer(arch='small', img_size=64, patch_size=16)
    layers = _by_hooks(vit, torch.zeros(1, 3, 64, 64))
    shape = VisionTransformer.arch_zoo['small']
    attention = shape['num_layers'] * 2 * 17**2 * shape['embed_dims']
    assert vit_gmacs('small', 16, 16) == pytest.approx((layers + attention) / 1e9)
    assert vit_gmacs('base', 196, 16) == pytest.approx(17.58, abs=0.02)  # as model zoos give it


def test_the_teacher_that_is_named_is_counted_and_no_other_is_made_up():
    one = config(0.5)
    base, small = (pretraining_cost(one, arch, 16, num_masks=1).teacher for arch in ('base', 'small'))
    assert (base, small) == (vit_gmacs('base', 196, 16), vit_gmacs('small', 196, 16))
    with pytest.raises(ConfigError, match="no architecture 'vast'; there are .*base"):
        vit_gmacs('vast', 196, 16)


def test_all_visible_the_student_costs_what_it_costs_dense_but_for_padding():
    cost, dense = pretraining_cost(config(0.0), 'base', 16, num_masks=1), finetuning_cost(config(0.0))
    assert 0.8 * dense.student < cost.student < dense.student
    assert pretraining_cost(config(0.75), 'base', 16, num_masks=4).student < 0.3 * dense.student
    assert cost.images == 2 * 1_281_167


def test_decoder_is_counted_with_the_projection_to_the_teachers_grid():
    level2, level3 = 8 * 8, 4 * 4  # positions at 128 px
    projections = 16 * (8 * 16 * level2 + 16 * 4 * level2 + 32 * level2) + 64 * 24 * level3
    blocks = 9 * (16 * 16 * level2 + 24 * 24 * level3) + 24 * 16 * level3
    expected = projections + blocks + 16 * 768 * 14 * 14
    norms = 4 * (16 * level2 + 24 * level3)  # what the analyzer may count for BatchNorm and interpolation
    found = pretraining_cost(config(0.5), 'base', 16, num_masks=1).decoder * 1e9
    assert expected <= found <= expected + norms


def test_hours_follow_from_the_operations():
    cost = Arithmetic(images=1_000_000, student=2.0, decoder=1.0, teacher=11.0)
    assert cost.exaflops == pytest.approx(1e6 * 2 * (3 * 3 + 11) * 1e9 / 1e18)
    assert cost.hours(100) == pytest.approx(cost.exaflops * 1e18 / 100e12 / 3600)


def measurement(path, **changes):
    """Write what ``tools/speed.py step --json`` writes of 5 images a second."""
    setting = dict(model='ResNet-50', img_size=128, visible=6, threads=2)
    rows = [dict(method=LIVE, images_per_s=5.0), dict(method='another', images_per_s=50.0)]
    content = dict(setting=setting, rows=rows, machine=dict(cpu='A CPU')) | changes
    path.write_text(json.dumps(content))
    return path


def test_a_measured_step_gives_the_speed_that_it_sustained(tmp_path):
    cfg, cost = config(0.6), Arithmetic(images=1, student=2.0, decoder=1.0, teacher=11.0)
    found = measured_teraflops(cfg, cost, measurement(tmp_path / 'step.json'))
    assert found == (pytest.approx(5 * 2 * (3 * 3 + 11) * 1e9 / 1e12), '2 threads of A CPU')
    on_gpu = measurement(tmp_path / 'gpu.json', machine=dict(cpu='A CPU', gpu='A GPU'))
    assert measured_teraflops(cfg, cost, on_gpu)[1] == 'A GPU'


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(setting=dict(model='ResNet-18', img_size=128, visible=6, threads=2)),
            "measured .*'ResNet-18'.*config has .*-50'",
        ),
        (dict(setting=dict(model='ResNet-50', img_size=128, visible=7, threads=2)), "'visible': 7.*'visible': 6"),
        (dict(rows=[]), 'expected what `tools/speed.py step --json` writes'),
        (dict(setting={}), "writes: KeyError.*'threads'"),
    ],
)
def test_a_measurement_of_something_else_is_refused(tmp_path, changes, message):
    path = measurement(tmp_path / 'step.json', **changes)
    with pytest.raises(RecordError, match=f'step.json: .*{message}'):
        measured_teraflops(config(0.6), Arithmetic(1, 1.0, 1.0, 1.0), path)
