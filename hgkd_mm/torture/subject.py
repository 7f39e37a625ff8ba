"""The tiny runs that are tortured: whole ones, with everything a real run has, at a few seconds each."""

import os
from pathlib import Path

import cv2
import numpy as np

CLASSES = ('a', 'b', 'c')
IMAGES, SIZE = 24, 64

_COMMON = """
custom_imports = dict(imports=['hgkd_mm', 'mmpretrain.engine', 'mmpretrain.models'], allow_failed_imports=False)
default_scope = '{scope}'
visualizer = dict(type='mmpretrain.UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
work_dir = 'runs'
log_level = 'WARNING'
max_epochs = 3
num_workers = 0
save_every = 2
backbone = dict(
    type='mmpretrain.ResNet', depth=18, base_channels=4, stem_channels=4, out_indices=({stages})
)
data_preprocessor = dict(type='mmpretrain.{preprocessor}', mean=[120.] * 3, std=[60.] * 3, to_rgb=True)
crops = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpretrain.RandomResizedCrop', scale={size}, crop_ratio_range=(0.4, 1.0)),
    dict(type='RandomFlip', prob=0.5),
]
dataset = dict(type='mmpretrain.CustomDataset', data_root={root!r}, data_prefix='train')
loader = dict(batch_size=4, num_workers=num_workers, collate_fn=dict(type='default_collate'))
optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.05)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, end=max_epochs, convert_to_iter_based=True),
    dict(type='mmpretrain.CosineAnnealingWeightDecay', eta_min=0.2, end=max_epochs, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1, save_every=save_every),
)
randomness = dict(seed=0)
"""

#: Masked pretraining: the mask, the sparse engine, the decoder, the export at the end.
_PRETRAINING = """
model = dict(
    type='SparK',
    backbone=backbone,
    neck=dict(type='UNetDecoder', in_channels=[4, 8, 16, 32], channels=[8, 8, 8, 8], out_level=0),
    head=dict(type='PixelReconstructionHead', in_channels=8, stride=4, patch_size=32),
    patch_size=32,
    data_preprocessor=data_preprocessor,
)
pipeline = [
    *crops,
    dict(type='RandomPatchMask', patch_size=32, mask_ratio=0.5),
    dict(type='mmpretrain.PackInputs', algorithm_keys=['visible'], meta_keys=['sample_idx', 'img_path']),
]
train_dataloader = dict(
    **loader,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, with_label=False, pipeline=pipeline),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer, clip_grad=dict(max_norm=1.0))
custom_hooks = [dict(type='StudentExportHook', num_batches=1)]
"""

#: Fine-tuning: averaged weights, dropped paths, mixed images, validation, the best checkpoint.
_FINETUNING = """
model = dict(
    type='ImageClassifier',
    backbone=dict(**backbone, drop_path_rate=0.2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=32, loss=dict(type='LabelSmoothLoss',
        label_smooth_val=0.1, mode='original')),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
    data_preprocessor=dict(**data_preprocessor, num_classes=3, to_onehot=True),
)
pipeline = [*crops, dict(type='ColorJitter', brightness=0.4), dict(type='RandomErasing'), dict(type='PackInputs')]
train_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, pipeline=pipeline),
)
val_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]),
)
val_cfg, val_evaluator = dict(), dict(type='Accuracy', topk=(1,))
optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer)
custom_hooks = [dict(type='EMAHook', momentum=0.1, priority='ABOVE_NORMAL')]
default_hooks['checkpoint'].update(save_best='auto')
"""

#: Training counted in iterations, on an endless stream, with gradients of two steps added up.
_ITERATIONS = """
train_dataloader['sampler'] = dict(type='InfiniteSampler', shuffle=True)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=18, val_interval=7)
for scheduler in param_scheduler:
    scheduler.pop('convert_to_iter_based')
    scheduler.update(by_epoch=False, end=18)
del scheduler
optim_wrapper.update(accumulative_counts=2)
default_hooks['checkpoint'].update(by_epoch=False, interval=3, max_keep_ckpts=2)
"""

SUBJECTS = {
    'pretraining': ('hgkd_mm', _PRETRAINING),
    'fine-tuning': ('mmpretrain', _FINETUNING),
    'iterations': ('mmpretrain', _FINETUNING + _ITERATIONS),
}


def make_images(root: str | os.PathLike) -> Path:
    """Write the labelled images, ``train/<class>/*.png``: a class is a colour under noise.

    Args:
        root: Folder to fill.

    Returns:
        The folder.
    """
    root, rng = Path(root), np.random.default_rng(0)
    for index in range(IMAGES):
        name = CLASSES[index % len(CLASSES)]
        (root / 'train' / name).mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 160, (SIZE, SIZE, 3), dtype=np.uint8)
        image[..., index % 3] += 80
        cv2.imwrite(str(root / 'train' / name / f'{index:03d}.png'), image)
    return root


def write_config(folder: str | os.PathLike, root: str | os.PathLike, name: str) -> Path:
    """Write the config of a subject.

    Args:
        folder: Where to.
        root: Of :func:`make_images`.
        name: One of ``SUBJECTS``.

    Returns:
        The config file.
    """
    scope, text = SUBJECTS[name]
    pretraining = name == 'pretraining'
    common = _COMMON.format(
        scope=scope,
        stages='0, 1, 2, 3' if pretraining else '3,',
        preprocessor='SelfSupDataPreprocessor' if pretraining else 'ClsDataPreprocessor',
        size=SIZE,
        root=str(root),
    )
    path = Path(folder, f'{name}.py')
    path.write_text(common + text, encoding='utf-8')
    return path
