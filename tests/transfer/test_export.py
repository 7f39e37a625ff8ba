"""The exported backbone is a plain file that says where it comes from."""

import hashlib

import pytest
import torch
import torchvision
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmpretrain.models import ResNet

from hgkd_mm.errors import ConfigError, WeightsError
from hgkd_mm.transfer import apply_pretrained, export_backbone, load_checkpoint_file, save_backbone
from hgkd_mm.transfer.export import describe, read_literals

CONFIG = """
custom_hooks = [dict(type='hgkd_mm.TeacherHook', teacher=dict(name='vit', layer=9))]
model = dict(backbone=dict(depth=18, type='ResNet'), type='hgkd_mm.HGKD')
train_dataloader = dict(dataset=dict(pipeline=[dict(mask_ratio=0.6, type='RandomPatchMask')]))
evil = __import__('os').getcwd()
"""


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp('export')
    torch.manual_seed(1)
    weights = ResNet(depth=18).state_dict()
    weights = {k: torch.rand(v.shape).to(v.dtype) + 1 for k, v in weights.items()}
    model = {f'backbone.{k}': v for k, v in weights.items()} | {'neck.mask_token': torch.ones(3)}
    meta = {'cfg': CONFIG, 'epoch': 20, 'iter': 400, 'seed': 0, 'experiment_name': 'demo'}
    torch.save({'state_dict': model, 'meta': meta, 'optimizer': {}}, folder / 'epoch_20.pth')
    export_backbone(folder / 'epoch_20.pth', folder / 'backbone.pth')
    return folder / 'backbone.pth', weights


def test_export_has_plain_keys_and_says_where_it_comes_from(exported):
    path, weights = exported
    loaded = torch.load(path, weights_only=True)
    assert loaded['state_dict'].keys() == weights.keys()
    assert all(torch.equal(v, weights[k]) for k, v in loaded['state_dict'].items())
    meta = loaded['meta']
    assert meta['method'] == 'hgkd_mm.HGKD'
    assert meta['backbone'] == {'depth': 18, 'type': 'ResNet'}
    assert meta['teacher'] == {'name': 'vit', 'layer': 9}
    assert (meta['mask_ratio'], meta['epochs'], meta['seed']) == (0.6, 20, 0)
    assert meta['source']['file'] == 'epoch_20.pth' and len(meta['source']['sha256']) == 64


def test_mask_ratio_is_over_all_images_and_the_whole_training():
    hook = "dict(type='hgkd_mm.MaskScheduleHook', mask_ratio=[(0, 0.2), (1, 0.8)], unmasked_share=0.2)"
    config = CONFIG.replace('custom_hooks = [', f'custom_hooks = [{hook}, ')
    assert describe({'cfg': config})['mask_ratio'] == pytest.approx(0.4)
    assert describe({'cfg': config})['recipe_sha256'] != describe({'cfg': CONFIG})['recipe_sha256']


def test_a_variant_and_shuffled_targets_are_named():
    plain = describe({'cfg': CONFIG})
    assert plain['variant'] is None and plain['targets_shuffled'] is None
    config = CONFIG.replace('layer=9)', 'layer=9), shuffle_targets=True').replace(
        ')]\nmodel', "), dict(type='StudentExportHook', variant='a control')]\nmodel"
    )
    found = describe({'cfg': config})
    assert (found['variant'], found['targets_shuffled'], found['teacher']) == ('a control', True, plain['teacher'])
    assert found['recipe_sha256'] != plain['recipe_sha256']
    named = describe({'cfg': config.replace('True', 'False')})  # a name alone is no other recipe
    assert (named['targets_shuffled'], named['recipe_sha256']) == (None, plain['recipe_sha256'])


def test_the_teachers_file_is_known_by_its_hash_where_it_is(tmp_path):
    weights = tmp_path / 'vit.safetensors'
    weights.write_bytes(b'weights')
    config = CONFIG.replace("name='vit'", f"weights='{weights}'")
    digest = hashlib.sha256(b'weights').hexdigest()
    assert describe({'cfg': config})['teacher'] == {'weights': str(weights), 'layer': 9, 'sha256': digest}
    weights.unlink()
    assert describe({'cfg': config})['teacher'] == {'weights': str(weights), 'layer': 9}


def test_checkpoint_without_backbone_is_refused(tmp_path):
    torch.save({'state_dict': {'head.weight': torch.ones(1)}}, tmp_path / 'x.pth')
    with pytest.raises(WeightsError, match='x.pth has no key which begins with .backbone'):
        export_backbone(tmp_path / 'x.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


def test_meta_of_library_types_is_saved_as_plain_data(tmp_path):
    meta = {'backbone': ConfigDict(type='ResNet', stages=(1, 2))}
    save_backbone(tmp_path / 'b.pth', {'w': torch.ones(1)}, meta)
    assert load_checkpoint_file(tmp_path / 'b.pth')['meta']['backbone'] == {
        'type': 'ResNet',
        'stages': [1, 2],
    }
    with pytest.raises(WeightsError, match='not plain data'):
        save_backbone(tmp_path / 'c.pth', {'w': torch.ones(1)}, {'x': object()})


def test_config_text_is_read_but_not_executed():
    values = read_literals(CONFIG + "open_it = open('/nonexistent')\nlr = -0.5\n")
    assert values['lr'] == -0.5
    assert 'evil' not in values and 'open_it' not in values
    assert read_literals('not python (') == {}


def test_pretrained_reaches_the_backbone(exported):
    cfg = ConfigDict(pretrained=str(exported[0]), model=dict(backbone=dict(init_cfg=None)))
    apply_pretrained(cfg)
    assert cfg.model.backbone.init_cfg == dict(type='hgkd_mm.DistilledBackbone', checkpoint=str(exported[0]))
    scratch = ConfigDict(pretrained=None, model=dict(backbone=dict(init_cfg='own')))
    apply_pretrained(scratch)
    assert scratch.model.backbone.init_cfg == 'own'


def test_what_a_backbone_does_not_take_of_the_file_is_ignored(exported):
    path = str(exported[0])
    cfg = ConfigDict(pretrained=path, pretrained_ignore=['norm0.'], model=dict(backbone=dict()))
    apply_pretrained(cfg)
    assert cfg.model.backbone.init_cfg.ignore == ['norm0.']
    supervised = ConfigDict(pretrained='torchvision://resnet50', model=dict(backbone=dict()))
    apply_pretrained(supervised)
    assert supervised.model.backbone.init_cfg.ignore == ['fc.']


def test_supervised_weights_of_torchvision_are_what_training_starts_from(monkeypatch):
    supervised = torchvision.models.resnet18()
    monkeypatch.setattr('mmengine.runner.checkpoint.load_url', lambda *_, **__: supervised.state_dict())
    cfg = ConfigDict(pretrained='torchvision://resnet18', model=dict(backbone=dict(type='mmpretrain.ResNet', depth=18)))
    apply_pretrained(cfg)
    backbone = MODELS.build(cfg.model.backbone)
    backbone.init_weights()
    assert torch.equal(backbone.layer4[1].conv2.weight, supervised.layer4[1].conv2.weight)
    assert torch.equal(backbone.bn1.weight, supervised.bn1.weight)


def test_missing_pretrained_file_or_backbone_is_named(tmp_path):
    cfg = ConfigDict(pretrained='nowhere/backbone.pth', model=dict(backbone=dict()))
    with pytest.raises(WeightsError, match='pretrained=nowhere/backbone.pth: no such file'):
        apply_pretrained(cfg)
    with pytest.raises(ConfigError, match='no model.backbone'):
        apply_pretrained(ConfigDict(pretrained='x.pth', model=dict()))
