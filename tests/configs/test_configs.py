"""Every config builds; the downstream ones train, and the full-scale ones run an iteration."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.registry import MODELS, init_default_scope

from hgkd_mm import engine
from hgkd_mm.engine import load_config
from hgkd_mm.transfer import load_checkpoint_file

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob('configs/*/*.py') if p.parent.name != '_base_')
DOWNSTREAM = [c for c in CONFIGS if c.split('/')[1] in ('classification', 'detection', 'segmentation')]
DEMO = [c for c in DOWNSTREAM if 'cutoutscenes' in c]


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize('path', DOWNSTREAM)
def test_downstream_config_builds_an_unfrozen_plain_resnet(path):
    cfg = load_config(path)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    depth = 50 if '50' in Path(path).name else 18
    assert model.backbone.depth == depth
    assert not model.backbone.deep_stem
    assert all(p.requires_grad for p in model.backbone.parameters())
    assert all(module.training for module in model.train().backbone.modules())
    # weights come from the one place `pretrained` and from nowhere else
    assert cfg.pretrained is None
    assert not (cfg.model.backbone.get('init_cfg') or cfg.model.get('pretrained'))
    assert cfg.custom_hooks[0].type == 'hgkd_mm.ResultHook'
    assert cfg.custom_hooks[0].task == path.split('/')[1]


@pytest.mark.parametrize('path', sorted(set(CONFIGS) - set(DOWNSTREAM)))
def test_pretraining_config_builds(path):
    cfg = load_config(path)
    init_default_scope(cfg.default_scope)
    assert MODELS.build(cfg.model).backbone is not None


@pytest.mark.parametrize('path', DEMO)
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


@pytest.mark.slow
@pytest.mark.parametrize('path', DEMO)
def test_demo_config_trains_and_evaluates(path, tmp_path, mini_cutoutscenes):
    options = [
        f'data_root={mini_cutoutscenes}', 'width=8', 'img_size=64', 'batch_size=8', 'max_epochs=1',
        'log_level=WARNING',
    ]  # fmt: skip
    engine.train([path, '--work-dir', str(tmp_path), '--cfg-options', *options])
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['task'] == path.split('/')[1]
    assert result['metrics']


def write_imagenet(root: Path, write_coco) -> None:
    image = np.full((48, 48, 3), 90, np.uint8)
    for split in ('train', 'val'):
        for index in range(1000):  # the data set insists on all classes
            folder = root / split / f'n{index:08d}'
            folder.mkdir(parents=True)
            if index < 4:
                cv2.imwrite(str(folder / 'a.jpg'), image)


def write_mini_coco(root: Path, write_coco) -> None:
    names = list(CocoDataset.METAINFO['classes'])
    polygon = [8.0, 8.0, 56.0, 8.0, 56.0, 56.0, 8.0, 56.0]
    for split in ('train2017', 'val2017'):
        (root / split).mkdir(parents=True)
        images, objects = [], []
        for index in range(2):
            name = f'{index:012d}.jpg'
            cv2.imwrite(str(root / split / name), np.full((64, 64, 3), 90, np.uint8))
            images.append(dict(id=index, file_name=name, width=64, height=64))
            objects.append(
                dict(
                    image_id=index,
                    category_id=index + 1,
                    bbox=[8, 8, 48, 48],
                    area=48 * 48,
                    iscrowd=0,
                    segmentation=[polygon],
                )  # fmt: skip
            )
        write_coco(root / 'annotations' / f'instances_{split}.json', images, objects, names)


def write_ade(root: Path, write_coco) -> None:
    labels = np.zeros((96, 96), np.uint8)
    labels[:48], labels[48:, :48] = 1, 150
    for split in ('training', 'validation'):
        for folder in ('images', 'annotations'):
            (root / folder / split).mkdir(parents=True)
        for index in range(2):
            image = np.full((96, 96, 3), 90, np.uint8)
            cv2.imwrite(str(root / 'images' / split / f'{index}.jpg'), image)
            cv2.imwrite(str(root / 'annotations' / split / f'{index}.png'), labels)


FULL_SCALE = {
    'configs/classification/resnet50_8xb256-coslr-300e_in1k.py': (
        write_imagenet,
        ['train_dataloader.batch_size=2', 'train_dataloader.dataset.pipeline.1.scale=64'],
    ),
    'configs/detection/mask-rcnn_r50_fpn_ms-1x_coco.py': (
        write_mini_coco,
        [
            'train_dataloader.batch_size=2',
            'train_dataloader.dataset.pipeline.2.scales=[(128,96)]',
            'train_dataloader.dataset.filter_cfg.min_size=1',
        ],
    ),
    'configs/segmentation/upernet_r50_4xb4-160k_ade20k-512x512.py': (
        write_ade,
        [
            'train_dataloader.batch_size=2',
            'model.data_preprocessor.size=(96,96)',
            'train_dataloader.dataset.pipeline.2.scale=(128,96)',
            'train_dataloader.dataset.pipeline.3.crop_size=(96,96)',
        ],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize('path', FULL_SCALE)
def test_full_scale_config_runs_an_iteration(path, tmp_path, coco_writer):
    write, options = FULL_SCALE[path]
    write(tmp_path / 'data', coco_writer)
    options = [
        *options, f'data_root={tmp_path / "data"}', 'train_dataloader.num_workers=0',
        'default_hooks.checkpoint.by_epoch=False', 'default_hooks.checkpoint.interval=1',
        'custom_hooks=[]', 'log_level=WARNING',
    ]  # fmt: skip
    engine.train(
        [
            path,
            '--work-dir',
            str(tmp_path / 'work'),
            '--cfg-options',
            *options,
            *one_iteration(path),
        ]
    )
    checkpoint = load_checkpoint_file(tmp_path / 'work' / 'iter_1.pth')
    assert checkpoint['meta']['iter'] == 1
    weights = checkpoint['state_dict']
    assert weights['backbone.layer4.2.conv3.weight'].shape == (2048, 512, 1, 1)
    assert all(torch.isfinite(w).all() for w in weights.values())


def one_iteration(path: str) -> list[str]:
    if 'segmentation' in path:
        return ['train_cfg.max_iters=1']
    return ['train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=2']
