# UperNet with a plain ResNet-50: mmseg's own one has a deep stem (ResNetV1c), which pretrained
# plain weights do not fit.
_base_ = 'mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py'

custom_imports = dict(imports=['hgkd_mm', 'mmpretrain.models'], allow_failed_imports=False)
pretrained = None  # backbone.pth; None trains from scratch
data_root = 'data/ade/ADEChallengeData2016'

model = dict(
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ResNet',
        depth=50,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        norm_eval=False,
    ),
)
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='segmentation',
        dataset=dict(name='ADE20K', version='2016'),
        protocol=dict(
            iterations=160000,
            batch_size=16,
            resolution=512,
            recipe='UperNet, SGD 0.01, poly (mmseg)',
        ),
    )
]
