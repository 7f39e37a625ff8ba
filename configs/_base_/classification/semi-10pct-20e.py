# Fine-tuning on 10 % of the labels: SGD, steps at 12 and 16, the new classifier 10 times as fast as the backbone.
# The list of images is written by: python tools/prepare_data.py imagenet --root data/imagenet --subset 10
_base_ = [
    'mmpretrain::_base_/models/resnet50.py',
    'mmpretrain::_base_/datasets/imagenet_bs32_pil_resize.py',
    'mmpretrain::_base_/default_runtime.py',
]

custom_imports = dict(imports=['hgkd_mm'], allow_failed_imports=False)
pretrained = None  # backbone.pth; None trains from scratch
data_root = 'data/imagenet'
subset = 'meta/train_10percent.txt'

model = dict(backbone=dict(_delete_=True))
train_dataloader = dict(
    batch_size=64,
    dataset=dict(data_root=data_root, ann_file=subset, data_prefix='train', split=''),
)
val_dataloader = dict(batch_size=64, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0),
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10))),
)
param_scheduler = [dict(type='MultiStepLR', milestones=[12, 16], gamma=0.2)]
train_cfg = dict(by_epoch=True, max_epochs=20)
val_cfg = dict()
test_cfg = dict()
sync_bn = 'torch'
auto_scale_lr = dict(enable=True, base_batch_size=256)

custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='classification',
        dataset=dict(name='ImageNet-1k, 10 % of the labels', version='ILSVRC2012'),
        protocol=dict(epochs=20, batch_size=256, resolution=224, recipe='semi-supervised, SGD 0.01, head x10'),
    )
]
