"""Generated miniature data sets in the standard layouts; no state kept between tests."""

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.utils import ManagerMixin
from mmpretrain.models import VisionTransformer
from pycocotools import mask as coco_mask
from safetensors.torch import save_file

from hgkd_mm import engine
from hgkd_mm.leaderboard.record import (
    METRICS,
    Code,
    Cost,
    Pretraining,
    PretrainingRecord,
    Record,
    primary_metric,
    save_record,
)

CLASSES = (
    'bird', 'coin', 'fish', 'flower', 'fruit', 'household', 'mammal', 'small_creature', 'tool',
    'vegetable', 'vehicle',
)  # fmt: skip


def draw_scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, list[dict]]:
    """Draw two rectangles of class colours on noise: image, label map (0 background), objects."""
    image = rng.integers(60, 120, (size, size, 3), dtype=np.uint8)
    labels = np.zeros((size, size), np.uint8)
    objects = []
    for column in (0, 1):
        label = int(rng.integers(1, len(CLASSES) + 1))
        w, h = (int(v) for v in rng.integers(size // 5, size // 3, 2))
        x = column * size // 2 + int(rng.integers(0, size // 2 - w))
        y = int(rng.integers(0, size - h))
        image[y : y + h, x : x + w] = (label * 20, 255 - label * 20, (label % 3) * 100)
        labels[y : y + h, x : x + w] = label
        mask = np.zeros((size, size), np.uint8)
        mask[y : y + h, x : x + w] = 1
        rle = coco_mask.encode(np.asfortranarray(mask))
        rle['counts'] = rle['counts'].decode()
        objects.append(dict(category_id=label, bbox=[x, y, w, h], area=w * h, iscrowd=0, segmentation=rle))
    return image, labels, objects


def write_coco(path: Path, images: list[dict], objects: list[dict], names: list[str]) -> None:
    """Write a COCO JSON with category ids from 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    categories = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    objects = [dict(**o, id=i) for i, o in enumerate(objects, 1)]
    path.write_text(json.dumps(dict(images=images, annotations=objects, categories=categories)))


@pytest.fixture(scope='session')
def mini_cutoutscenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a data set folder in the layout of CutoutScenes: 16 and 8 scenes of 64 px."""
    root, size = tmp_path_factory.mktemp('cutoutscenes'), 64
    rng = np.random.default_rng(0)
    for split, count in (('train', 16), ('val', 8)):
        images, annotations = [], []
        for name in CLASSES:
            (root / 'classification' / split / name).mkdir(parents=True)
        for folder in ('images', 'annotations'):
            (root / folder / split).mkdir(parents=True)
        for index in range(count):
            image, labels, objects = draw_scene(rng, size)
            name = f'{index:06d}.png'
            cv2.imwrite(str(root / 'images' / split / name), image)
            cv2.imwrite(str(root / 'annotations' / split / name), labels)
            main = CLASSES[objects[0]['category_id'] - 1]
            shutil.copy(root / 'images' / split / name, root / 'classification' / split / main)
            images.append(dict(id=index, file_name=name, width=size, height=size))
            annotations += [dict(**o, image_id=index) for o in objects]
        write_coco(root / f'instances_{split}.json', images, annotations, list(CLASSES))
    shutil.copytree(root / 'images' / 'train', root / 'unlabeled')
    return root


@pytest.fixture(scope='session')
def coco_writer():
    """Give :func:`write_coco`, for tests with data sets of their own."""
    return write_coco


@pytest.fixture(scope='session')
def noise():
    """Give a function from a number and a side to an image of noise."""

    def draw(index: int, size: int) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 255, (size, size, 3), dtype=np.uint8)

    return draw


@pytest.fixture(scope='session')
def imagenet(tmp_path_factory, noise) -> Path:
    """Folders for 1000 classes, as the data set insists on; an image in the first two of each split."""
    root = tmp_path_factory.mktemp('imagenet')
    (root / 'meta').mkdir()
    for split in ('train', 'val'):
        for index in range(1000):
            (root / split / f'n{index:08d}').mkdir(parents=True)
        for index in range(2):
            cv2.imwrite(str(root / split / f'n{index:08d}' / 'a.jpg'), noise(index, 96))
    for percent in (1, 10):
        (root / 'meta' / f'train_{percent}percent.txt').write_text('n00000000/a.jpg 0\nn00000001/a.jpg 1\n')
    return root


@pytest.fixture(scope='session')
def teacher_weights(tmp_path_factory) -> Path:
    """A random Vision Transformer with tokens as wide as a ViT-B's, and the file that describes it."""
    arch = dict(embed_dims=768, num_layers=12, num_heads=12, feedforward_channels=64)
    backbone = dict(type='mmpretrain.VisionTransformer', arch=arch, img_size=64, patch_size=16)
    path = tmp_path_factory.mktemp('teacher') / 'vit.safetensors'
    torch.manual_seed(0)
    model = VisionTransformer(arch=arch, img_size=64, patch_size=16)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    path.with_suffix('.json').write_text(json.dumps({'backbone': backbone}))
    return path


@pytest.fixture
def tiny_teacher() -> dict:
    """Config of a random Vision Transformer of two blocks with tokens of 24 values, on a grid of 4x4."""
    return dict(
        type='hgkd_mm.ViTTeacher',
        backbone=dict(
            type='mmpretrain.VisionTransformer',
            arch=dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48),
            img_size=32,
            patch_size=8,
        ),
        img_size=32,
        layer=1,
    )


@pytest.fixture(scope='session')
def train_one_iteration():
    """Give a function that trains as a person would and returns the first line of the log with a loss."""

    def train(path: str, work_dir: Path, options: dict) -> dict:
        options = options | {
            'default_hooks.checkpoint': None,  # hundreds of megabytes
            'default_hooks.logger.interval': 1,
            'log_level': 'WARNING',
            'randomness.seed': 0,
        }
        engine.train([path, '--work-dir', str(work_dir), '--cfg-options', *(f'{k}={v}' for k, v in options.items())])
        logs = work_dir.glob('*/vis_data/2*.json')
        lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
        return next(line for line in lines if 'loss' in line)

    return train


@pytest.fixture(scope='session')
def pretrain(imagenet, teacher_weights, train_one_iteration):
    """Give a function that runs a full-scale pretraining config on two small images, to its ``backbone.pth``."""

    def run(path: str, work_dir: Path, **changes: object) -> dict:
        cfg = engine.load_config(path)
        options = {
            'data_root': imagenet,
            'img_size': 64,
            'num_workers': 0,
            'train_dataloader.batch_size': 2,
            'train_cfg.max_epochs': 1,
        }
        if 'teacher_weights' in cfg:
            options |= {'teacher_weights': teacher_weights, 'teacher_img_size': 64}
            options['custom_hooks.0.teacher.amp_dtype'] = None
        options[f'custom_hooks.{len(cfg.custom_hooks) - 1}.num_batches'] = 1
        return train_one_iteration(path, work_dir, options | changes)

    return run


HGKD = dict(
    method='HGKD',
    teacher='vit-s14',
    teacher_sha256='a' * 64,
    teacher_layer=9,
    epochs=20,
    mask_ratio=0.6,
    seed=0,
    backbone_sha256='b' * 64,
)


def _record(value=40.0, task='classification', pretraining=None, seed=0, curve=(), **changes):
    """Make a valid record; every metric with a column gets the value of the primary one."""
    shown = [name for name, metric in METRICS[task].items() if metric.shown]
    fields = dict(
        task=task,
        dataset=dict(name='Toy', version='1', fold=0, num_train=100, num_val=20),
        metrics={name: value for name in shown},
        protocol=dict(epochs=10, batch_size=32, resolution=128, recipe='AdamW, cosine'),
        budget=dict(finetuning_images=1000),
        pretraining=pretraining,
        model=dict(name='ImageClassifier', backbone='ResNet-18', params=11_000_000),
        curve=[dict(epoch=epoch, metrics={primary_metric(task): point}) for epoch, point in enumerate(curve, 1)],
        cost=dict(wall_time_s=61.5, device='CPU', threads=2),
        code=dict(version='0.1.0', commit=None),
        config_sha256='c' * 64,
        seed=seed,
        environment=dict(python='3.11.7'),
        created=datetime(2026, 1, 2, 3, 4, seed, tzinfo=timezone.utc),
    )
    return Record.model_validate({**fields, **changes})


@pytest.fixture(scope='session')
def record_factory():
    """Factory of valid records."""
    return _record


@pytest.fixture(scope='session')
def write_pretraining_to():
    """Factory of pretraining records in a folder, with curves."""

    def write(folder, pretraining, **curves):
        record = PretrainingRecord(
            backbone='ResNet-18',
            pretraining=Pretraining(**pretraining),
            curves=curves,
            cost=Cost(wall_time_s=600.0, images_per_s=100.0, device='CPU', threads=2),
            code=Code(version='0.1.0'),
            config_sha256='c' * 64,
            environment={'python': '3.11.7'},
            created=datetime(2026, 1, 2, tzinfo=timezone.utc),
        )
        path = folder / 'pretraining.json'
        save_record(record, path)
        return path

    return write


@pytest.fixture(scope='session')
def hgkd_facts():
    """Provenance of a distilled backbone, to be copied."""
    return HGKD


@pytest.fixture(autouse=True)
def no_state_of_mmengine_left_over():
    """Forget the default scope, logger and message hub which a test's runner leaves behind."""
    yield
    # each class keeps its own: the default scope, loggers, message hubs and every framework's visualizer
    managers = [ManagerMixin]
    for manager in managers:
        managers += manager.__subclasses__()
        for instance in manager._instance_dict.values():
            for handler in getattr(instance, 'handlers', []):
                handler.close()
        manager._instance_dict.clear()
