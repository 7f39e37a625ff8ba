"""Every full-scale config runs: full-size model, real layout of the data, one iteration, one evaluation.

A config that differs from another in its length alone is not run a second time: it is shown to be the same run.
"""

import ast
import json
import math
import re
from pathlib import Path

import mmpretrain.models  # noqa: F401
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope

from hgkd_mm import engine
from hgkd_mm.engine import load_config
from hgkd_mm.engine.config import _RUNNER_KEYS
from hgkd_mm.errors import WeightsError
from hgkd_mm.models.teachers.group import TeacherGroup
from hgkd_mm.transfer import DistilledBackbone, load_checkpoint_file, save_backbone
from hgkd_mm.utils import sha256_file

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.glob('configs/*/*.py')
    if path.parent.name != '_base_' and 'cutoutscenes' not in path.name
)
#: Configs that are another one for a longer or shorter time, or on another list of images, by their file name.
SAME_RUN = {
    path: twin
    for path in CONFIGS
    for pattern, other in ((r'-800e_in1k', '-300e_in1k'), (r'-100e_in1k', '-300e_in1k'), (r'-10pct', '-1pct'))
    if (twin := re.sub(pattern, other, path)) != path
}
RUN = [path for path in CONFIGS if path not in SAME_RUN]
PRETRAINING = [path for path in RUN if 'pretraining' in path]
KNN = [path for path in RUN if '-knn_' in path]
DOWNSTREAM = sorted(set(RUN) - set(PRETRAINING) - set(KNN))
DATA = {'classification': 'imagenet', 'detection': 'coco', 'segmentation': 'ade'}
NORMALIZATION = {'mean': [123.675, 116.28, 103.53], 'std': [58.395, 57.12, 57.375], 'channel_order': 'rgb'}

#: Sizes in pipelines, by the transform's argument, and what they become here.
SMALL = {
    'classification': {'scale': 64, 'crop_size': 64},
    'detection': {
        'scale': (96, 96), 'scales': [(96, 96)], 'crop_size': (64, 64), 'size': (64, 64), 'img_scale': (64, 64),
    },
    'segmentation': {'scale': (96, 96), 'crop_size': (64, 64)},
}  # fmt: skip


#: What the constructors of optimizers look for; they pass over any other name.
PARAMWISE_KEYS = {
    'layer_decay_rate', 'norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult', 'custom_keys', 'bypass_duplicate',
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def shrunk(node, sizes: dict, key: str) -> dict:
    """Collect options that make every size in a pipeline small."""
    found = {}
    if isinstance(node, dict):
        for name, value in node.items():
            if name in sizes:
                found[f'{key}.{name}'] = sizes[name]
            else:
                found |= shrunk(value, sizes, f'{key}.{name}')
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            found |= shrunk(value, sizes, f'{key}.{index}')
    return found


def few_boxes(model: ConfigDict) -> dict:
    """Options for a detector that trains and predicts few boxes, however low their scores."""
    options = {}
    for stage, head in model.train_cfg.items():
        heads = head if isinstance(head, list) else [head]
        for index, found in enumerate(heads):
            key = f'model.train_cfg.{stage}' + (f'.{index}' if isinstance(head, list) else '')
            if isinstance(found, dict) and found.get('sampler', {}).get('num'):
                options[f'{key}.sampler.num'] = 8
    if 'rcnn' in model.test_cfg:
        options |= {'model.test_cfg.rpn.max_per_img': 10, 'model.test_cfg.rcnn.score_thr': 0.0}
        return options | {'model.test_cfg.rpn.min_bbox_size': -1, 'model.test_cfg.rcnn.max_per_img': 5}
    # an untrained one may predict nothing but boxes without an area, which -1 keeps
    return options | {
        'model.test_cfg.score_thr': 0.0, 'model.test_cfg.min_bbox_size': -1, 'model.test_cfg.max_per_img': 5,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize('path', DOWNSTREAM)
def test_downstream_config_loads_a_backbone_trains_and_evaluates(path, tmp_path, request, train_one_iteration):
    task = path.split('/')[1]
    cfg = load_config(path)
    save_backbone(tmp_path / 'backbone.pth', MODELS.build(cfg.student).state_dict(), {'normalization': NORMALIZATION})
    assert set(cfg.optim_wrapper.get('paramwise_cfg') or {}) <= PARAMWISE_KEYS
    options = {
        'pretrained': tmp_path / 'backbone.pth',
        'data_root': request.getfixturevalue(DATA[task]),
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'val_dataloader.num_workers': 0,
        'train_cfg.val_interval': 1,
    }
    for loader in ('train_dataloader', 'val_dataloader'):
        options |= shrunk(cfg[loader].dataset, SMALL[task], f'{loader}.dataset')
    iterations = 'max_iters' in cfg.train_cfg
    options['train_cfg.max_iters' if iterations else 'train_cfg.max_epochs'] = 1
    if task == 'segmentation':
        options['model.data_preprocessor.size'] = (64, 64)
        if cfg.model.test_cfg.mode == 'slide':
            options |= {'model.test_cfg.crop_size': (64, 64), 'model.test_cfg.stride': (32, 32)}
    if task == 'detection':
        options |= {'train_dataloader.dataset.filter_cfg.min_size': 1} | few_boxes(cfg.model)
    log = train_one_iteration(path, tmp_path / 'work', options)
    assert math.isfinite(log['loss']) and log['loss'] > 0
    result = json.loads((tmp_path / 'work' / 'result.json').read_text())
    assert result['task'] == task
    assert all(0 <= value <= 100 for value in result['metrics'].values()) and result['metrics']
    assert result['pretraining'] is not None


@pytest.mark.slow
@pytest.mark.parametrize('path', KNN)
def test_knn_config_evaluates_a_backbone(path, tmp_path, imagenet):
    cfg = load_config(path)
    # random: after one norm of ConvNeXt all features of an untrained one would be alike
    torch.manual_seed(0)
    save_backbone(tmp_path / 'backbone.pth', MODELS.build(cfg.student).state_dict(), {'normalization': NORMALIZATION})
    bank = 'custom_hooks.0.dataloader'
    options = {'data_root': imagenet, 'test_dataloader.num_workers': 0, f'{bank}.num_workers': 0}
    options |= shrunk(cfg.test_dataloader.dataset, SMALL['classification'], 'test_dataloader.dataset')
    options |= shrunk(cfg.custom_hooks[0].dataloader.dataset, SMALL['classification'], f'{bank}.dataset')
    options = [f'{key}={value}' for key, value in {**options, 'log_level': 'WARNING'}.items()]
    work_dir = str(tmp_path / 'work')
    metrics = engine.test([path, str(tmp_path / 'backbone.pth'), '--work-dir', work_dir, '--cfg-options', *options])
    # the two images of each split are the same: every one is its own nearest neighbour
    assert metrics['accuracy/top1'] == 100
    result = json.loads((tmp_path / 'work' / 'result.json').read_text())
    assert result['metrics']['top1'] == 100 and result['pretraining']['backbone_sha256']


#: What may differ between a config and the one it is the same run as.
LENGTH = {'max_epochs', 'warmup_epochs', 'param_scheduler', 'train_cfg', 'subset'}


@pytest.mark.parametrize('path', SAME_RUN)
def test_config_that_is_not_run_differs_in_length_alone(path):
    cfg, twin = (load_config(name) for name in (path, SAME_RUN[path]))
    init_default_scope(cfg.default_scope)
    cfg, twin = cfg.to_dict(), twin.to_dict()
    assert cfg['train_cfg'].keys() == twin['train_cfg'].keys()
    assert [s['type'] for s in cfg['param_scheduler']] == [s['type'] for s in twin['param_scheduler']]
    for scheduler in cfg['param_scheduler']:
        kind = PARAM_SCHEDULERS.get(scheduler.pop('type'))
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        if scheduler.pop('convert_to_iter_based', False):
            kind.build_iter_from_epoch(optimizer, epoch_length=10, **scheduler)
        else:
            kind(optimizer, **scheduler)
    for config in (cfg, twin):
        for key in LENGTH:
            config.pop(key, None)
        config['train_dataloader']['dataset'].pop('ann_file', None)
        for hook in config['custom_hooks']:
            if hook['type'] == 'hgkd_mm.ResultHook':
                del hook['protocol'], hook['dataset']
        keys = config['optim_wrapper'].get('paramwise_cfg') or {}
        keys.get('custom_keys', {}).pop('head', None)  # its learning rate
    assert cfg == twin


@pytest.mark.slow
@pytest.mark.parametrize('path', PRETRAINING)
def test_pretraining_config_trains_and_exports_a_backbone_that_loads_strictly(path, tmp_path, pretrain):
    cfg = load_config(path)
    assert set(cfg.optim_wrapper.paramwise_cfg) <= PARAMWISE_KEYS
    log = pretrain(path, tmp_path)
    assert math.isfinite(log['loss']) and log['loss'] > 0

    backbone = MODELS.build(cfg.student)
    DistilledBackbone(str(tmp_path / 'backbone.pth'))(backbone)
    backbone.eval()
    with torch.no_grad():
        shapes = [tuple(out.shape) for out in backbone(torch.zeros(1, 3, 64, 64))]
    assert shapes == [(1, width, side, side) for width, side in zip(cfg.stage_channels, (16, 8, 4, 2), strict=True)]
    meta = load_checkpoint_file(tmp_path / 'backbone.pth')['meta']
    assert meta['normalization'] == NORMALIZATION
    assert meta['backbone']['type'] == cfg.student.type


@pytest.mark.slow
def test_the_studys_options_train_at_full_scale(tmp_path, pretrain):
    path = next(path for path in PRETRAINING if 'hgkd_resnet18' in path)
    log = pretrain(path, tmp_path, unmasked_share=0.5, last_stage_weight=0.5, last_stage_regions='cell')
    assert log['loss'] > log['loss_last_stage'] > 0
    record = json.loads((tmp_path / 'pretraining.json').read_text())
    half = 0.5 * load_config(path).mask_ratio  # one of two images is whole
    assert record['pretraining']['mask_ratio'] == pytest.approx(half)


def test_config_names_the_hash_of_the_teacher_and_another_file_is_refused(teacher_weights):
    options = {'teacher_weights': str(teacher_weights), 'teacher_sha256': 'f' * 64}
    cfg = load_config(next(path for path in PRETRAINING if 'hgkd_resnet18' in path), options)
    found = sha256_file(teacher_weights)
    with pytest.raises(WeightsError, match=f'{teacher_weights}: SHA-256 is {found}, expected ffff'):
        TeacherGroup(cfg.custom_hooks[0].teacher)


# -- no key without an effect --------------------------------------------------------------------------------------

#: Top-level keys which mmengine, the frameworks or our entry scripts read, besides the arguments of the runner.
ENGINE_KEYS = {'_base_', 'auto_scale_lr', 'custom_imports', 'pretrained', 'pretrained_ignore', 'sync_bn'}


def local_files(path: Path) -> list[Path]:
    """A config and its bases in this repository."""
    bases = []
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == '_base_':
            names = ast.literal_eval(statement.value)
            names = [names] if isinstance(names, str) else names
            bases = [base for name in names if '::' not in name for base in local_files(path.parent / name)]
    return [path, *bases]


@pytest.mark.parametrize('path', CONFIGS)
def test_every_variable_of_a_config_is_used(path):
    assigned, used = set(), set()
    for file in local_files(ROOT / path):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Name):
                (used if isinstance(node.ctx, ast.Load) else assigned).add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == '_base_':
                used.add(node.attr)
    # a student's stages: not every network over it asks how wide they are
    unknown = assigned - used - _RUNNER_KEYS - ENGINE_KEYS - {'short', 'stage_channels'}
    assert not unknown, f'{path}: nothing reads {sorted(unknown)}'
