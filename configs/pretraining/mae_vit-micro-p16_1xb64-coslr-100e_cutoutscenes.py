# A small teacher from nothing: mmpretrain's MAE on the unlabelled scenes. See docs/teachers.md.
_base_ = [
    'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py',
    '../_base_/cutoutscenes.py',
]

fold = 0
data_root = f'data/cutoutscenes/fold{fold}'
img_size = 128
patch_size = 16
arch = dict(embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768)
batch_size = 64
max_epochs = 100
warmup_iters = 100
lr = 1e-3
num_workers = 0

model = dict(
    backbone=dict(arch=dict(**arch, _delete_=True), img_size=img_size, patch_size=patch_size),
    neck=dict(
        num_patches=(img_size // patch_size) ** 2,
        patch_size=patch_size,
        embed_dim=arch['embed_dims'],
        decoder_embed_dim=128,
        decoder_depth=2,
        decoder_num_heads=4,
    ),
    head=dict(patch_size=patch_size),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomResizedCrop',
        scale=img_size,
        crop_ratio_range=(0.4, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=True,
    collate_fn=dict(_delete_=True, type='default_collate'),  # without the base's `_scope_`
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root=data_root,
        data_prefix='unlabeled',
        with_label=False,
        pipeline=train_pipeline,
    ),
)

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(
            pos_embed=dict(decay_mult=0.0),
            mask_token=dict(decay_mult=0.0),
            cls_token=dict(decay_mult=0.0),
        ),
    ),
)
param_scheduler = [  # their factors multiply
    dict(type='LinearLR', start_factor=1e-4, by_epoch=False, end=warmup_iters),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=10, max_keep_ckpts=1, save_last=True))
resume = False  # the base resumes by itself
