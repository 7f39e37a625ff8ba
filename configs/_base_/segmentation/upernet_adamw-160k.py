# mmseg's recipe for ConvNeXt: AdamW, layer decay, linear schedule.
_base_ = 'mmseg::convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py'

custom_imports = dict(_delete_=True, imports=['hgkd_mm', 'mmpretrain.models'], allow_failed_imports=False)
pretrained = None  # backbone.pth; None trains from scratch
data_root = 'data/ade/ADEChallengeData2016'

model = dict(backbone=dict(_delete_=True))
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=True, base_batch_size=16)
optim_wrapper = dict(
    constructor='hgkd_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, layer_decay_rate=0.9),
)

custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='segmentation',
        dataset=dict(name='ADE20K', version='2016'),
        protocol=dict(iterations=160000, batch_size=16, resolution=512, recipe='UperNet, AdamW, layer decay (mmseg)'),
    )
]
