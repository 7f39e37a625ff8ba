# UperNet with a head small enough for two CPU cores. Label 0 is the background.
_base_ = [
    'mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py',
    '../cutoutscenes.py',
]

pretrained = None  # backbone.pth; None trains from scratch
fold = 0
data_root = f'data/cutoutscenes/fold{fold}'
img_size = 128
batch_size = 8
max_epochs = 12
warmup_epochs = min(1, max_epochs / 2)
lr = 1e-3
num_workers = 0
head_channels = 32

classes = _base_.classes
num_labels = len(classes) + 1
norm_cfg = dict(type='BN', requires_grad=True)
data_preprocessor = dict(size=(img_size, img_size))
model = dict(
    data_preprocessor=data_preprocessor,
    pretrained=None,
    backbone=dict(_delete_=True),
    decode_head=dict(
        channels=head_channels,
        num_classes=num_labels,
        norm_cfg=norm_cfg,
        # three quarters of the pixels are background
        loss_decode=dict(class_weight=[0.2] + [1.0] * len(classes)),
    ),
    auxiliary_head=None,
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize',
        scale=(img_size, img_size),
        ratio_range=(1.0, 1.5),
        keep_ratio=True,
    ),
    dict(type='RandomCrop', crop_size=(img_size, img_size)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(img_size, img_size), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
dataset = dict(
    _delete_=True,
    type='BaseSegDataset',
    data_root=data_root,
    metainfo=dict(classes=('background', *classes)),
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    # the pooled 1x1 map of the pyramid module cannot be normalised over one image
    drop_last=True,
    sampler=dict(type='DefaultSampler'),
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='images/train', seg_map_path='annotations/train'),
        img_suffix='.png',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='images/val', seg_map_path='annotations/val'),
        img_suffix='.png',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', fused=True, lr=lr, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=warmup_epochs, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=warmup_epochs, end=max_epochs, convert_to_iter_based=True),
]
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
default_hooks = dict(
    logger=dict(interval=20, log_metric_by_epoch=True),
    checkpoint=dict(by_epoch=True, interval=1, max_keep_ckpts=1, save_last=True),
)
log_processor = dict(by_epoch=True)
randomness = dict(seed=0)
custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='segmentation',
        dataset=dict(name='CutoutScenes', fold=fold),
        protocol=dict(
            epochs=max_epochs,
            batch_size=batch_size,
            resolution=img_size,
            recipe='UperNet, AdamW, cosine, scale + crop + flip, background weighted 0.2',
        ),
    )
]
del dataset
