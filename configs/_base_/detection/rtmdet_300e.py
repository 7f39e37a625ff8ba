# A one-stage detector in the manner of RTMDet: neck, head and training of RTMDet-s over a student, whose images are
# normalised as the student saw them (RTMDet's own backbone takes BGR).
_base_ = 'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py'

custom_imports = dict(imports=['hgkd_mm', 'mmpretrain.models'], allow_failed_imports=False)
pretrained = None  # backbone.pth; None trains from scratch
data_root = 'data/coco/'

model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(_delete_=True),
)
sync_bn = 'torch'  # the backbone's
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{data_root}/annotations/instances_val2017.json')
test_evaluator = val_evaluator
auto_scale_lr = dict(enable=True, base_batch_size=256)

custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='hgkd_mm.ResultHook',
        task='detection',
        dataset=dict(name='COCO', version='2017'),
        protocol=dict(epochs=300, batch_size=256, resolution=640, recipe='RTMDet neck and head, AdamW (mmdet)'),
    ),
]
