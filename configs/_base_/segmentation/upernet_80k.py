# mmseg's recipe over a plain student: its own ResNet has a deep stem (ResNetV1c), which plain weights do not fit.
_base_ = 'mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512.py'

custom_imports = dict(imports=['hgkd_mm', 'mmpretrain.models'], allow_failed_imports=False)
pretrained = None  # backbone.pth; None trains from scratch
data_root = 'data/ade/ADEChallengeData2016'

model = dict(pretrained=None, backbone=dict(_delete_=True))
sync_bn = 'torch'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=True, base_batch_size=16)

custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='segmentation',
        dataset=dict(name='ADE20K', version='2016'),
        protocol=dict(iterations=80000, batch_size=16, resolution=512, recipe='UperNet, SGD 0.01, poly (mmseg)'),
    )
]
