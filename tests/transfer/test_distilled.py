"""Whatever is wrong with a backbone's file is refused by name, and what is right says where it comes from."""

import logging
import os

import mmdet.models  # noqa: F401
import mmpretrain.models  # noqa: F401
import mmseg.models  # noqa: F401
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models import VisionTransformer
from safetensors.torch import save_file
from torch import nn

from hgkd_mm.errors import WeightsError
from hgkd_mm.transfer import DistilledBackbone, save_backbone
from hgkd_mm.utils import sha256_file

RGB = {'mean': [123.675, 116.28, 103.53], 'std': [58.395, 57.12, 57.375], 'channel_order': 'rgb'}
META = {
    'method': 'hgkd_mm.HGKD',
    'backbone': {'type': 'mmpretrain.ResNet', 'depth': 18},
    'teacher': {'name': 'mae-vit-b16'},
    'mask_ratio': 0.6,
    'epochs': 300,
    'seed': 1,
    'experiment': 'hgkd_resnet18',
    'normalization': RGB,
}


def resnet(depth: int = 18, scope: str = 'mmpretrain', **kwargs) -> nn.Module:
    options = dict(base_channels=8, stem_channels=8) | kwargs
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(dict(type='ResNet', depth=depth, **options))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'backbone.pth'
    save_backbone(path, resnet().state_dict(), META)
    return path


class Code:
    def __reduce__(self):
        return os.mkdir, ('/nonexistent/executed',)


# -- 20 kinds of damaged or wrong files: each is written by a function and refused with a message -----------------


def changed(change):
    """Give a writer which lets ``change`` alter the plain weights of a ResNet-18 (or return others)."""

    def write(path):
        weights = resnet().state_dict()
        torch.save(change(weights) or weights, path)

    return write


def altered_after_export(path):
    save_backbone(path, resnet().state_dict(), META)
    content = torch.load(path, weights_only=True)
    content['state_dict']['conv1.weight'][0, 0, 0, 0] += 1
    torch.save(content, path)


def caffe_style(path):
    save_backbone(path, resnet(50).state_dict(), {**META, 'backbone': {'type': 'ResNet', 'style': 'caffe'}})


def truncated(path):
    torch.save(resnet().state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_code(path):
    torch.save({'state_dict': resnet().state_dict(), 'meta': Code()}, path)


def swapped_weights(weights):
    """Exchange two layers' weights of different shape."""
    weights['layer1.0.conv1.weight'], weights['layer2.0.conv1.weight'] = (
        weights['layer2.0.conv1.weight'],
        weights['layer1.0.conv1.weight'],
    )


def teacher(weights):
    arch = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=16)
    return VisionTransformer(arch=arch, img_size=32).state_dict()


DAMAGED = {
    'missing file': (lambda path: None, 'does not exist'),
    'folder': (lambda path: path.mkdir(), 'does not exist'),
    'empty file': (lambda path: path.touch(), 'is empty'),
    'web page instead of a download': (lambda path: path.write_text('<!DOCTYPE html>\n<p>404'), 'not a checkpoint'),
    'truncated file': (truncated, 'truncated or not a checkpoint'),
    'pickle with code': (with_code, 'Python objects besides weights, which could run code'),
    'list of tensors': (lambda path: torch.save([torch.ones(1)], path), 'holds a list'),
    'optimizer state': (lambda path: torch.save({'lr': 0.1, 'step': 3}, path), 'neither a state dict nor a checkpoint'),
    'renamed prefix': (
        changed(lambda w: {f'module.{k}': v for k, v in w.items()}),
        r"every key begins with 'module.', the rest would fit: give prefix='module.'",
    ),
    'whole model': (
        changed(lambda w: {f'backbone.{k}': v for k, v in w.items()} | {'neck.mask_token': torch.ones(1)}),
        'a whole model: export its backbone',
    ),
    'classifier': (changed(lambda w: w.update({'fc.weight': torch.ones(2, 64)})), r"leave them out: ignore=\['fc.'\]"),
    'teacher instead of student': (changed(teacher), "a Vision Transformer, such as a teacher: give the student's"),
    'other depth': (changed(lambda w: resnet(34).state_dict()), r'\d+ unexpected: layer1.2'),
    'other block': (changed(lambda w: resnet(50).state_dict()), r'mis-shaped: layer1.0.conv1.weight \(8, 8, 1, 1\)'),
    'other width': (
        changed(lambda w: resnet(base_channels=16).state_dict()),
        r'\d+ mis-shaped: layer1.0.conv1.weight \(16, 8, 3, 3\) instead of \(8, 8, 3, 3\)',
    ),
    'deep stem': (changed(lambda w: resnet(deep_stem=True).state_dict()), r'missing: conv1.weight.*unexpected: stem.0'),
    'lost layer': (changed(lambda w: {k: v for k, v in w.items() if 'layer4.1' not in k}), 'missing: layer4.1'),
    'lost statistics': (changed(lambda w: {k: v for k, v in w.items() if 'running' not in k}), '40 missing: bn1.runn'),
    'exchanged layers': (changed(swapped_weights), '2 mis-shaped: layer1.0.conv1.weight'),
    'values not finite': (
        changed(lambda w: {**w, 'layer3.0.bn2.weight': w['layer3.0.bn2.weight'].log() / 0}),
        'layer3.0.bn2.weight has values that are not finite',
    ),
    'negative variances': (
        changed(lambda w: {**w, 'bn1.running_var': -w['bn1.running_var']}),
        'bn1.running_var has negative variances',
    ),
    'quantised weights': (
        changed(lambda w: w.update({'conv1.weight': w['conv1.weight'].to(torch.int8)})),
        'conv1.weight has type torch.int8, expected floating point',
    ),
    'sparse weights': (
        changed(lambda w: w.update({'conv1.weight': w['conv1.weight'].to_sparse()})),
        'conv1.weight is no dense tensor',
    ),
    'altered after the export': (altered_after_export, 'not those which were exported'),
}


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('kind', DAMAGED)
def test_damaged_or_wrong_file_is_refused_and_changes_nothing(tmp_path, kind):
    write, message = DAMAGED[kind]
    path = tmp_path / 'backbone.pth'
    write(path)
    module = resnet()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(WeightsError, match=rf'backbone.pth.*{message}'):
        DistilledBackbone(str(path))(module)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_other_style_with_the_same_keys_is_refused(tmp_path):
    caffe_style(tmp_path / 'b.pth')
    DistilledBackbone(str(tmp_path / 'b.pth'))(resnet(50, style='caffe'))
    with pytest.raises(WeightsError, match="b.pth was trained with style='caffe', but this ResNet has style='pytorch'"):
        DistilledBackbone(str(tmp_path / 'b.pth'))(resnet(50))


# -- normalisation of images ---------------------------------------------------------------------------------------

PREPROCESSORS = {
    'mmpretrain': ('ClsDataPreprocessor', 'to_rgb'),
    'mmdet': ('DetDataPreprocessor', 'bgr_to_rgb'),
    'mmseg': ('SegDataPreProcessor', 'bgr_to_rgb'),
}


class Owner(BaseModel):
    """Runs a backbone as a classifier, detector or segmentor does."""

    def __init__(self, backbone: nn.Module, data_preprocessor: dict) -> None:
        super().__init__(data_preprocessor)
        self.backbone = backbone

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.backbone(inputs)


def run(path, scope, mean=RGB['mean'], std=RGB['std'], rgb=True):
    name, flag = PREPROCESSORS[scope]
    with DefaultScope.overwrite_default_scope(scope):
        owner = Owner(resnet(scope=scope), {'type': f'{scope}.{name}', 'mean': mean, 'std': std, flag: rgb})
    DistilledBackbone(str(path))(owner.backbone)
    return owner(torch.zeros(2, 3, 32, 32))


@pytest.mark.parametrize('scope', PREPROCESSORS)
def test_wrong_normalization_is_refused_before_the_first_step(path, scope):
    run(path, scope)
    with pytest.raises(WeightsError, match='red and blue are swapped: it was pretrained on .* in RGB order, but this'):
        run(path, scope, RGB['mean'][::-1], RGB['std'][::-1], rgb=False)
    with pytest.raises(WeightsError, match='red and blue are swapped'):  # the same numbers in the other order
        run(path, scope, rgb=False)
    with pytest.raises(WeightsError, match=r'mean=\[103.53, 116.28, 123.675\].* in RGB order. Change mean'):
        run(path, scope, RGB['mean'][::-1])
    with pytest.raises(WeightsError, match=r'std=\[1.0, 1.0, 1.0\]'):
        run(path, scope, std=[1, 1, 1])


def test_check_leaves_no_hook_behind(path):
    hooks = nn.modules.module._global_forward_pre_hooks
    before = len(hooks)
    run(path, 'mmdet')
    assert len(hooks) == before
    alone = resnet()
    DistilledBackbone(str(path))(alone)
    alone(torch.zeros(2, 3, 32, 32))
    assert len(hooks) == before
    DistilledBackbone(str(path))(resnet())  # never run
    nn.Identity()(torch.zeros(1))
    assert len(hooks) == before


# -- what fits -----------------------------------------------------------------------------------------------------


def message_of(path) -> str:
    found = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    logger = MMLogger.get_instance('distilled')
    logger.addHandler(handler)
    DistilledBackbone(str(path))(resnet())
    return next(message for message in found if message.startswith('DistilledBackbone'))


def test_one_line_says_what_was_loaded(path):
    assert message_of(path) == (
        f'DistilledBackbone: 120 tensors of {path} (sha256 {sha256_file(path)}), pretrained by hgkd_mm.HGKD: backbone '
        'mmpretrain.ResNet 18, teacher mae-vit-b16, epochs 300, mask ratio 0.6, seed 1, run hgkd_resnet18'
    )


def test_file_of_unknown_origin_is_said_to_be_so(tmp_path):
    save_file(resnet().state_dict(), tmp_path / 'w.safetensors')
    assert message_of(tmp_path / 'w.safetensors').endswith('which does not say where it comes from')


def test_ignored_keys_are_left_out_and_nothing_else(tmp_path):
    weights = resnet().state_dict() | {'fc.weight': torch.ones(2, 64), 'extra': torch.ones(1)}
    torch.save(weights, tmp_path / 'w.pth')
    with pytest.raises(WeightsError, match='1 unexpected: extra'):
        DistilledBackbone(str(tmp_path / 'w.pth'), ignore=['fc.'])(resnet())
    del weights['extra']
    torch.save(weights, tmp_path / 'w.pth')
    DistilledBackbone(str(tmp_path / 'w.pth'), ignore=['fc.'])(resnet())
