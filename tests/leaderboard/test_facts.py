import copy

import pytest

from hgkd_mm.leaderboard.facts import (
    backbone_name,
    code,
    environment,
    model_sha256,
    pretraining_sha256,
    protocol_sha256,
)

CONFIG = dict(
    model=dict(
        type='HGKD',
        backbone=dict(type='mmpretrain.ResNet', depth=18, init_cfg=None),
        head=dict(weight=1.0),
        data_preprocessor=dict(mean=[0.5]),
    ),
    optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
    param_scheduler=[dict(type='CosineAnnealingLR')],
    train_cfg=dict(max_epochs=3),
    train_dataloader=dict(
        batch_size=4, dataset=dict(dataset=dict(data_root='a', pipeline=[dict(type='Flip', seed=1)]))
    ),
    val_dataloader=dict(dataset=dict(data_root='a', pipeline=[dict(type='Load')])),
    custom_hooks=[dict(type='TeacherHook', teacher=dict(layer=9, weights='a.pth'), cache_dir='a')],
    randomness=dict(seed=0),
)
PLACES = {
    'model.backbone.init_cfg': dict(type='Pretrained'),
    'randomness.seed': 1,
    'train_dataloader.dataset.dataset.data_root': 'b',
    'optim_wrapper.type': 'AmpOptimWrapper',  # protocol.precision says so
}
CHANGES = {
    protocol_sha256: {'optim_wrapper.optimizer.lr': 2e-3, 'train_dataloader.batch_size': 8, 'param_scheduler': []},
    model_sha256: {'model.backbone.depth': 34, 'model.head.weight': 0.5},
    pretraining_sha256: {
        'model.head.weight': 0.5,
        'optim_wrapper.optimizer.lr': 2e-3,
        'train_dataloader.batch_size': 8,
    },
}


def _with(key, value):
    config = copy.deepcopy(CONFIG)
    *path, last = key.split('.')
    node = config
    for name in path:
        node = node[name]
    node[last] = value
    return config


@pytest.mark.parametrize('hash_of', [protocol_sha256, model_sha256])
@pytest.mark.parametrize('key', PLACES)
def test_places_seeds_and_first_weights_do_not_change_the_hash(hash_of, key):
    assert hash_of(_with(key, PLACES[key])) == hash_of(CONFIG)


@pytest.mark.parametrize(('hash_of', 'key'), [(f, key) for f, changes in CHANGES.items() for key in changes])
def test_what_takes_part_changes_the_hash(hash_of, key):
    assert hash_of(_with(key, CHANGES[hash_of][key])) != hash_of(CONFIG)


def test_pretraining_by_another_layer_or_pipeline_is_another_recipe():
    teacher = dict(type='TeacherHook', teacher=dict(layer=10, weights='a.pth'), cache_dir='a')
    moved = dict(type='TeacherHook', teacher=dict(layer=9, weights='b/a.pth', sha256='c' * 64), cache_dir='b')
    assert pretraining_sha256(_with('custom_hooks', [teacher])) != pretraining_sha256(CONFIG)
    assert pretraining_sha256(_with('custom_hooks', [moved])) == pretraining_sha256(CONFIG)
    schedule = dict(type='MaskScheduleHook', unmasked_share=0.5)
    assert pretraining_sha256(_with('custom_hooks', [*CONFIG['custom_hooks'], schedule])) != pretraining_sha256(CONFIG)
    watching = dict(type='DiagnosticsHook', interval=1)
    assert pretraining_sha256(_with('custom_hooks', [*CONFIG['custom_hooks'], watching])) == pretraining_sha256(CONFIG)
    seeded = _with('train_dataloader.dataset.dataset.pipeline', [dict(type='Flip', seed=2)])
    assert pretraining_sha256(seeded) == pretraining_sha256(CONFIG)
    other = _with('train_dataloader.dataset.dataset.pipeline', [dict(type='Crop', seed=1)])
    assert pretraining_sha256(other) != pretraining_sha256(CONFIG)


@pytest.mark.parametrize(
    ('backbone', 'name'),
    [
        (dict(type='mmpretrain.ResNet', depth=18, base_channels=32), 'ResNet-18 (width 32)'),
        (dict(type='mmpretrain.ResNet', depth=50, base_channels=64), 'ResNet-50'),
        (dict(type='ConvNeXt', arch='tiny'), 'ConvNeXt-tiny'),
        (dict(type='MobileNetV2', widen_factor=0.5), 'MobileNetV2 (width x0.5)'),
    ],
)
def test_backbones_are_named_by_type_size_and_width(backbone, name):
    assert backbone_name(backbone) == name


def test_environment_and_code_are_stated():
    found = environment().keys()
    assert {'python', 'torch'} <= found and {'onedl-mmdetection', 'mmdet'} & found
    found = code()
    assert found['commit'] is None or (len(found['commit']) == 40 and found['modified'] in (True, False))
