"""Every config builds; the demo's train. The full-scale ones run in test_full_scale.py."""

import json
import math
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

from hgkd_mm import engine
from hgkd_mm.datasets.checks import write_subset
from hgkd_mm.engine import load_config
from hgkd_mm.transfer import DistilledBackbone, save_backbone

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob('configs/*/*.py') if p.parent.name != '_base_')
DOWNSTREAM = [c for c in CONFIGS if c.split('/')[1] in ('classification', 'detection', 'segmentation')]
DEMO = [c for c in DOWNSTREAM if 'cutoutscenes' in c]
DEMO_PRETRAINING = [c for c in CONFIGS if 'pretraining' in c and 'cutoutscenes' in c and '/mae_' not in c]
# every recipe once: what is frozen does not depend on the student
RECIPES = [c for c in DOWNSTREAM if ('r18' in c or 'resnet18' in c) and '-knn_' not in c]

NORMALIZATION = {'mean': [123.675, 116.28, 103.53], 'std': [58.395, 57.12, 57.375], 'channel_order': 'rgb'}


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize('path', RECIPES)
def test_downstream_config_builds_an_unfrozen_plain_backbone(path):
    cfg = load_config(path)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    assert not getattr(model.backbone, 'deep_stem', False)
    frozen = [p for p in model.backbone.parameters() if not p.requires_grad]
    if '-linear-' in path:
        assert len(frozen) == len(list(model.backbone.parameters()))
        model.train()
        assert not any(module.training for module in model.backbone.layer4.modules())
    else:
        assert not frozen
        model.train()
        assert all(module.training for module in model.backbone.modules())
    # weights come from the one place `pretrained` and from nowhere else
    assert cfg.pretrained is None
    assert not (cfg.model.backbone.get('init_cfg') or cfg.model.get('pretrained'))
    assert cfg.custom_hooks[-1].type == 'hgkd_mm.ResultHook'
    assert cfg.custom_hooks[-1].task == path.split('/')[1]


@pytest.mark.parametrize('path', [c for c in CONFIGS if 'pretraining' in c and 'cutoutscenes' in c])
def test_pretraining_config_builds(path):
    cfg = load_config(path)
    init_default_scope(cfg.default_scope)
    assert MODELS.build(cfg.model).backbone is not None


@pytest.mark.slow
@pytest.mark.parametrize('path', DEMO_PRETRAINING)
def test_demo_pretraining_exports_a_backbone_that_loads_strictly(
    path, tmp_path, mini_cutoutscenes, teacher_weights, train_one_iteration
):
    options = dict(data_root=mini_cutoutscenes, img_size=64, batch_size=8, max_epochs=1, warmup_epochs=0.5)
    if '/spark_' not in path:
        options |= {'teacher_weights': teacher_weights, 'custom_hooks.0.teacher.img_size': 64, 'token_cache': None}
        options |= {'model.head.embed_dims': 768, 'last_stage_weight': 0.5, 'model.last_stage_head.embed_dims': 768}
    log = train_one_iteration(path, tmp_path, options)
    assert math.isfinite(log['loss']) and log['loss'] > 0
    cfg = load_config(path)
    backbone = MODELS.build(cfg.student)
    DistilledBackbone(str(tmp_path / 'backbone.pth'))(backbone)
    backbone.eval()
    with torch.no_grad():
        shapes = [tuple(out.shape) for out in backbone(torch.zeros(1, 3, 64, 64))]
    assert shapes == [(1, width, side, side) for width, side in zip(cfg.stage_channels, (16, 8, 4, 2), strict=True)]


@pytest.mark.parametrize('path', [c for c in DEMO if c in RECIPES])
def test_width_is_one_variable(path):
    cfg = load_config(path, {'width': 16})
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).eval()
    assert model.backbone.conv1.out_channels == 16
    with torch.no_grad():
        features = model.backbone(torch.zeros(1, 3, 64, 64))
        if model.with_neck:
            features = model.neck(features)
    assert features[-1].shape[0] == 1


@pytest.mark.parametrize('path', DEMO)
def test_data_root_is_one_variable(path):
    text = load_config(path, {'data_root': 'elsewhere'}).pretty_text
    assert 'elsewhere' in text
    assert 'data/cutoutscenes' not in text


@pytest.mark.parametrize('path', [c for c in DEMO if 'classification' in c])
def test_classifier_learns_faster_than_its_backbone(path):
    cfg = load_config(path, {'lr': 2e-4, 'head_lr_mult': 5})
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    of = {id(parameter): group for group in groups for parameter in group['params']}
    rates = {name: of[id(parameter)]['lr'] for name, parameter in model.named_parameters()}
    assert rates == {name: pytest.approx(1e-3 if name.startswith('head.') else 2e-4) for name in rates}
    # the rest of the recipe is as without
    same = build_optim_wrapper(model, load_config(path).optim_wrapper).optimizer.param_groups
    backbone = {id(parameter) for parameter in model.backbone.parameters()}
    decays = [group['weight_decay'] for group in groups if id(group['params'][0]) in backbone]
    assert decays == [group['weight_decay'] for group in same if id(group['params'][0]) in backbone]
    assert {0.0, 0.05} == set(decays)
    assert cfg.custom_hooks[-1].protocol.recipe.endswith(', 5 times the lr for the head')


@pytest.mark.slow
@pytest.mark.parametrize('path', DEMO)
def test_demo_config_trains_and_evaluates(path, tmp_path, mini_cutoutscenes):
    options = [f'data_root={mini_cutoutscenes}', 'img_size=64', 'batch_size=8', 'max_epochs=1', 'log_level=WARNING']
    student = load_config(path).get('student')
    if student:
        save_backbone(tmp_path / 'backbone.pth', MODELS.build(student).state_dict(), {'normalization': NORMALIZATION})
        options.append(f'pretrained={tmp_path}/backbone.pth')
    else:
        options.append('width=8')
    engine.train([path, '--work-dir', str(tmp_path), '--cfg-options', *options])
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['task'] == path.split('/')[1]
    assert (result['pretraining'] is not None) == bool(student)
    assert result['metrics']


@pytest.mark.slow
def test_classifier_trains_on_a_share_of_the_labels(tmp_path, mini_cutoutscenes):
    listed = write_subset(mini_cutoutscenes / 'classification', 10).read_text().splitlines()
    assert 0 < len(listed) < 16
    options = [
        f'data_root={mini_cutoutscenes}', 'label_share=0.1', 'val_interval=2', 'width=8', 'img_size=64', 'batch_size=8',
        'max_epochs=2', 'log_level=WARNING',
    ]  # fmt: skip
    (path,) = (c for c in DEMO if '/resnet18_' in c)
    engine.train([path, '--work-dir', str(tmp_path), '--cfg-options', *options])
    result = json.loads((tmp_path / 'result.json').read_text())
    assert (result['dataset']['name'], result['dataset']['num_train']) == (
        'CutoutScenes, 10 % of the labels',
        len(listed),
    )
    assert result['budget']['finetuning_images'] == 2 * len(listed)
    assert [point['epoch'] for point in result['curve']] == [2]
