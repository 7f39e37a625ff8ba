# SparK's recipe for ConvNeXt, 36 epochs: AdamW, layer decay 0.65, multi-scale with crops; the rest is mmdet's for
# ConvNeXt-T.
_base_ = 'mmdet::convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'

custom_imports = dict(_delete_=True, imports=['hgkd_mm', 'mmpretrain.models'], allow_failed_imports=False)
pretrained = None  # backbone.pth; None trains from scratch
data_root = 'data/coco/'

model = dict(backbone=dict(_delete_=True))
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{data_root}/annotations/instances_val2017.json')
test_evaluator = val_evaluator
auto_scale_lr = dict(enable=True)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(lr=2e-4),
    constructor='hgkd_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, layer_decay_rate=0.65),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.2),
]
custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='detection',
        dataset=dict(name='COCO', version='2017'),
        protocol=dict(
            epochs=36, batch_size=16, resolution='480-800', recipe='Mask R-CNN FPN 3x, AdamW, layer decay (SparK)'
        ),
    )
]
