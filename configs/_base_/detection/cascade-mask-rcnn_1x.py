# mmdet's recipe with nothing frozen and SyncBN in the backbone.
_base_ = 'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['hgkd_mm', 'mmpretrain.models'], allow_failed_imports=False)
pretrained = None  # backbone.pth; None trains from scratch
data_root = 'data/coco/'

model = dict(backbone=dict(_delete_=True))
sync_bn = 'torch'
train_dataloader = dict(dataset=dict(data_root=data_root))
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
        protocol=dict(epochs=12, batch_size=16, resolution=800, recipe='Cascade Mask R-CNN FPN 1x, SGD 0.02 (mmdet)'),
    )
]
