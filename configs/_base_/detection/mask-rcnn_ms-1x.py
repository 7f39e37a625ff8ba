# Mask R-CNN for self-supervised backbones: nothing frozen, SyncBN everywhere, 4conv1fc box head, multi-scale training;
# as in mmpretrain's configs/byol/benchmarks/mask-rcnn_r50_fpn_ms-1x_coco.py.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['hgkd_mm', 'mmpretrain.models'], allow_failed_imports=False)
pretrained = None  # backbone.pth; None trains from scratch
data_root = 'data/coco/'

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(_delete_=True),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(
        bbox_head=dict(type='Shared4Conv1FCBBoxHead', norm_cfg=norm_cfg),
        mask_head=dict(norm_cfg=norm_cfg),
    ),
)
sync_bn = 'torch'  # the backbone's

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomChoiceResize', scales=[(1333, short) for short in range(640, 801, 32)], keep_ratio=True),
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(type='mmdet.PackDetInputs'),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{data_root}/annotations/instances_val2017.json')
test_evaluator = val_evaluator
auto_scale_lr = dict(enable=True)

custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='detection',
        dataset=dict(name='COCO', version='2017'),
        protocol=dict(
            epochs=12, batch_size=16, resolution='640-800', recipe='Mask R-CNN FPN 1x, SyncBN, SGD (mmpretrain)'
        ),
    )
]
