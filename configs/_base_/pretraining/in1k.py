# What all pretraining on ImageNet-1K has in common: data, precision, run time. Labels are not read: any folder of
# images does.
_base_ = 'mmpretrain::_base_/default_runtime.py'

custom_imports = dict(imports=['hgkd_mm', 'mmpretrain.engine', 'mmpretrain.models'], allow_failed_imports=False)
default_scope = 'hgkd_mm'
visualizer = dict(type='mmpretrain.UniversalVisualizer')
data_root = 'data/imagenet'
data_prefix = 'train'
img_size = 224
patch_size = 32
mask_ratio = 0.6
num_workers = 8
token_cache = None  # folder of cached teacher tokens; None asks the teacher at every step
num_views = 1  # views an image that a cache holds

data_preprocessor = dict(
    type='mmpretrain.SelfSupDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
view_transforms = [
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=img_size,
        crop_ratio_range=(0.2, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5),
]
if token_cache is not None:  # only views that come back can be cached
    view_transforms = [dict(type='FixedViews', transforms=view_transforms, num_views=num_views)]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    *view_transforms,
    dict(type='RandomPatchMask', patch_size=patch_size, mask_ratio=mask_ratio),
    dict(
        type='mmpretrain.PackInputs',
        algorithm_keys=['visible'],
        meta_keys=['sample_idx', 'img_path', 'view_id'],
    ),
]
train_dataloader = dict(
    batch_size=256,
    num_workers=num_workers,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmpretrain.CustomDataset',
        data_root=data_root,
        data_prefix=data_prefix,
        with_label=False,
        pipeline=train_pipeline,
    ),
)
del view_transforms

sync_bn = 'torch'  # statistics over all GPUs, also those of the targets
auto_scale_lr = dict(enable=True, base_batch_size=2048)
default_hooks = dict(
    checkpoint=dict(interval=10, max_keep_ckpts=2, save_last=True, save_every=2000),
    unreadable=dict(type='SkipUnreadableHook', max_share=0.001),
)
randomness = dict(seed=0, diff_rank_seed=True)
