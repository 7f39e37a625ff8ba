"""Weights load completely or not at all, from every framework's scope."""

import mmdet.registry
import mmpretrain.registry
import mmseg.registry
import pytest
import torch
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from safetensors.torch import save_file
from torch import nn

from hgkd_mm.errors import WeightsError
from hgkd_mm.transfer import DistilledBackbone

REGISTRIES = {
    'mmpretrain': mmpretrain.registry.MODELS,
    'mmdet': mmdet.registry.MODELS,
    'mmseg': mmseg.registry.MODELS,
}


def resnet(depth: int = 18, scope: str = 'mmpretrain', **kwargs) -> nn.Module:
    config = dict(type=f'{scope}.ResNet', depth=depth, base_channels=8, stem_channels=8, **kwargs)
    return REGISTRIES[scope].build(config)


def randomised(module: nn.Module) -> dict[str, torch.Tensor]:
    """State dict in which no tensor has the value an initializer would give it."""
    generator = torch.Generator().manual_seed(0)
    return {k: torch.rand(v.shape, generator=generator).to(v.dtype) + 1 for k, v in module.state_dict().items()}


@pytest.fixture
def backbone_file(tmp_path):
    path = tmp_path / 'backbone.pth'
    torch.save({'state_dict': randomised(resnet()), 'meta': {}}, path)
    return path


@pytest.mark.parametrize('scope', REGISTRIES)
def test_all_weights_are_those_of_the_file_after_init(backbone_file, scope):
    init_cfg = dict(type='hgkd_mm.DistilledBackbone', checkpoint=str(backbone_file))
    with DefaultScope.overwrite_default_scope(scope):
        # zero_init_residual (on by default) would zero the last norm of each block afterwards
        module = resnet(scope=scope, init_cfg=init_cfg)
        module.init_weights()
    expected = torch.load(backbone_file, weights_only=True)['state_dict']
    assert module.state_dict().keys() == expected.keys()
    for key, value in module.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_initialization_of_children_does_not_overwrite_loaded_weights(tmp_path):
    class Parent(BaseModule):
        def __init__(self, init_cfg=None):
            super().__init__(init_cfg)
            self.child = BaseModule(dict(type='Constant', layer='Linear', val=7.0))
            self.child.fc = nn.Linear(2, 2)

    torch.save({k: torch.ones_like(v) for k, v in Parent().state_dict().items()}, tmp_path / 'w.pth')
    other = dict(type='Constant', layer='Linear', val=3.0)
    ours = dict(type='hgkd_mm.DistilledBackbone', checkpoint=str(tmp_path / 'w.pth'))
    module = Parent([other, ours])
    module.init_weights()
    assert (module.child.fc.weight == 1).all()


@pytest.mark.parametrize('kind', ['plain', 'safetensors', 'prefixed'])
def test_every_form_of_weight_file_loads(tmp_path, kind):
    weights, prefix = randomised(resnet()), None
    path = tmp_path / 'w.pth'
    if kind == 'plain':
        torch.save(weights, path)
    elif kind == 'safetensors':
        path = tmp_path / 'w.safetensors'
        save_file(weights, path)
    else:
        prefix = 'backbone.'
        model = {f'backbone.{k}': v for k, v in weights.items()} | {'head.fc.weight': torch.ones(1)}
        torch.save({'state_dict': model}, path)
    module = resnet()
    DistilledBackbone(str(path), prefix=prefix)(module)
    assert torch.equal(module.layer4[1].conv2.weight, weights['layer4.1.conv2.weight'])


def test_depth_50_weights_are_refused_by_depth_18_and_nothing_changes(tmp_path):
    path = tmp_path / 'r50.pth'
    torch.save({'state_dict': resnet(50).state_dict()}, path)
    module = resnet(18)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(WeightsError, match=r'r50.pth does not fit ResNet .*unexpected.*mis-shaped'):
        DistilledBackbone(str(path))(module)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda w: w.pop('conv1.weight'), r'1 missing: conv1.weight'),
        (lambda w: w.update(extra=torch.ones(1)), r'1 unexpected: extra'),
        (
            lambda w: w.update({'conv1.weight': torch.ones(4, 3, 7, 7)}),
            r'1 mis-shaped: conv1.weight \(4, 3, 7, 7\) instead of \(8, 3, 7, 7\)',
        ),
        (lambda w: w.update({'backbone.x': torch.ones(1)}), r'export its backbone with tools'),
    ],
)
def test_each_misfit_is_named(tmp_path, change, message):
    weights = randomised(resnet())
    change(weights)
    torch.save(weights, tmp_path / 'w.pth')
    with pytest.raises(WeightsError, match=message):
        DistilledBackbone(str(tmp_path / 'w.pth'))(resnet())


def test_absent_batch_counters_do_not_matter(tmp_path):
    weights = {k: v for k, v in randomised(resnet()).items() if 'num_batches' not in k}
    torch.save(weights, tmp_path / 'w.pth')
    DistilledBackbone(str(tmp_path / 'w.pth'))(resnet())


def test_prefix_without_keys_is_refused(backbone_file):
    with pytest.raises(WeightsError, match="no key which begins with 'encoder.'"):
        DistilledBackbone(str(backbone_file), prefix='encoder.')(resnet())
