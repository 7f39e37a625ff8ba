"""Learning rates layer by layer: published groupings, every student, all three frameworks."""

import mmdet.models  # noqa: F401
import mmpretrain.models  # noqa: F401
import mmseg.models  # noqa: F401
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from hgkd_mm.engine.layer_decay import layer_depths
from hgkd_mm.errors import ConfigError

STUDENTS = {
    'resnet18': (dict(type='ResNet', depth=18, base_channels=8, stem_channels=8), 4),
    'resnet34': (dict(type='ResNet', depth=34, base_channels=8, stem_channels=8), 6),
    'resnet50': (dict(type='ResNet', depth=50, base_channels=8, stem_channels=8), 6),
    'resnet101': (dict(type='ResNet', depth=101, base_channels=8, stem_channels=8), 12),
    'convnext-tiny': (dict(type='ConvNeXt', arch=dict(depths=[3, 3, 9, 3], channels=[4, 8, 8, 8])), 6),
    'convnext-small': (dict(type='ConvNeXt', arch=dict(depths=[3, 3, 27, 3], channels=[4, 8, 8, 8])), 12),
    'mobilenet-v2': (dict(type='MobileNetV2', widen_factor=0.25), 8),
    'efficientnet-b0': (dict(type='EfficientNet', arch='b0'), 7),
}


def build(config: dict) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(config)


def names(backbone: nn.Module) -> list[str]:
    return [name for name, _ in backbone.named_parameters()]


@pytest.mark.parametrize('student', STUDENTS)
def test_depth_grows_from_stem_to_last_stage_and_leaves_no_layer_out(student):
    config, num_layers = STUDENTS[student]
    depths, found = layer_depths(names(build(config)))
    assert found == num_layers
    used = {depth for name, depth in depths.items() if not name.startswith('norm')}
    assert used == set(range(num_layers + 1))


@pytest.mark.parametrize('student', ['resnet50', 'resnet101', 'convnext-tiny', 'convnext-small'])
def test_layers_are_those_of_the_published_recipes(student):
    backbone = build(STUDENTS[student][0])
    depths, num_layers = layer_depths(names(backbone))
    published = {name: backbone.get_layer_depth(f'backbone.{name}', 'backbone.') for name in depths}
    assert published == {name: (depth, num_layers + 2) for name, depth in depths.items()}


def test_resnet18_layer_by_layer():
    depths, _ = layer_depths(names(build(STUDENTS['resnet18'][0])))
    assert depths['conv1.weight'] == depths['bn1.bias'] == 0
    for stage in (1, 2, 3, 4):
        assert {d for name, d in depths.items() if name.startswith(f'layer{stage}.')} == {stage}


def test_what_follows_the_stages_belongs_to_the_last_layer():
    mobilenet, _ = layer_depths(names(build(STUDENTS['mobilenet-v2'][0])))
    assert mobilenet['conv1.conv.weight'] == 0
    assert mobilenet['layer4.1.conv.0.conv.weight'] + 1 == mobilenet['layer4.2.conv.0.conv.weight']
    assert mobilenet['conv2.conv.weight'] == mobilenet['layer7.0.conv.0.conv.weight'] == 8
    efficientnet, _ = layer_depths(names(build(STUDENTS['efficientnet-b0'][0])))
    assert efficientnet['layers.0.conv.weight'] == 0
    assert efficientnet['layers.6.conv.weight'] == 7


class Model(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(2, 2)


def optimizer_of(model: nn.Module, **paramwise) -> torch.optim.Optimizer:
    config = dict(
        optimizer=dict(type='SGD', lr=2.0, weight_decay=0.5),
        constructor='hgkd_mm.LayerDecayOptimWrapperConstructor',
        paramwise_cfg=dict(layer_decay_rate=0.5, norm_decay_mult=0.0) | paramwise,
    )
    return build_optim_wrapper(model, config).optimizer


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet', 'mmseg'])
def test_learning_rates_in_each_framework(scope):
    with DefaultScope.overwrite_default_scope(scope):
        config = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
        if scope == 'mmseg':
            config['norm_cfg'] = dict(type='BN')
        model = Model(MODELS.build(config))
        optimizer = optimizer_of(model)
    rates = {id(g['params'][0]): (g['lr'], g['weight_decay']) for g in optimizer.param_groups}
    assert len(rates) == len(list(model.parameters()))
    expected = {
        'head.weight': (2.0, 0.5),
        'backbone.conv1.weight': (2.0 / 2**5, 0.5),
        'backbone.bn1.weight': (2.0 / 2**5, 0.0),
        'backbone.layer1.0.conv1.weight': (2.0 / 2**4, 0.5),
        'backbone.layer2.1.conv2.weight': (2.0 / 2**3, 0.5),
        'backbone.layer3.0.downsample.0.weight': (2.0 / 2**2, 0.5),
        'backbone.layer4.1.bn2.bias': (2.0 / 2, 0.0),
    }
    named = dict(model.named_parameters())
    assert {name: rates[id(named[name])] for name in expected} == expected


def test_custom_multipliers_are_kept():
    model = Model(build(STUDENTS['resnet18'][0]))
    custom = {'layer4': dict(lr_mult=10.0, decay_mult=0.0), 'head': dict(lr_mult=3.0)}
    optimizer = optimizer_of(model, custom_keys=custom)
    rates = {id(g['params'][0]): (g['lr'], g['weight_decay']) for g in optimizer.param_groups}
    assert rates[id(model.backbone.layer4[0].conv1.weight)] == (10.0, 0.0)
    assert rates[id(model.head.weight)] == (6.0, 0.5)


@pytest.mark.parametrize('rate', [None, 0, 1.5, '0.7'])
def test_rate_out_of_range_is_named(rate):
    with pytest.raises(ConfigError, match='layer_decay_rate=.*above 0 and at most 1'):
        optimizer_of(Model(build(STUDENTS['resnet18'][0])), layer_decay_rate=rate)


def test_backbone_without_stages_is_named():
    with pytest.raises(ConfigError, match=r'no stages; its parameters are 0.weight'):
        optimizer_of(Model(nn.Sequential(nn.Linear(2, 2))))
    with pytest.raises(ConfigError, match='Linear has no backbone'):
        optimizer_of(nn.Linear(2, 2))
