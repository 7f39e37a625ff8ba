# SparK's recipe for ResNet-50 (coco_R_50_FPN_CONV_1x_moco_adam.yaml, for detectron2): AdamW, layer decay 0.6, 90,000
# iterations, larger scales. Left out: the re-estimation of BatchNorm before each evaluation.
_base_ = 'mask-rcnn_ms-1x.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomChoiceResize', scales=[(1333, short) for short in range(480, 897, 32)], keep_ratio=True),
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(type='mmdet.PackDetInputs'),
]
train_dataloader = dict(
    sampler=dict(type='InfiniteSampler'),
    dataset=dict(pipeline=train_pipeline),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2.5e-4, weight_decay=1e-4),
    constructor='hgkd_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.6),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=90000, by_epoch=False, milestones=[60000, 80000], gamma=0.25),
]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=90000, val_interval=10000)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=10000, max_keep_ckpts=2))
log_processor = dict(by_epoch=False)
custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='detection',
        dataset=dict(name='COCO', version='2017'),
        protocol=dict(
            iterations=90000, batch_size=16, resolution='480-896', recipe='Mask R-CNN FPN, AdamW, layer decay (SparK)'
        ),
    )
]
