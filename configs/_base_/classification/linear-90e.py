# Linear probe: the backbone frozen and in evaluation mode, LARS on the classifier alone, as mmpretrain evaluates
# self-supervised ResNets.
_base_ = 'mmpretrain::byol/benchmarks/resnet50_8xb512-linear-coslr-90e_in1k.py'

custom_imports = dict(imports=['hgkd_mm.models', 'hgkd_mm.hooks'], allow_failed_imports=False)
pretrained = None  # backbone.pth; None probes a random backbone
data_root = 'data/imagenet'

model = dict(type='hgkd_mm.LinearProbe', backbone=dict(_delete_=True))
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=True, base_batch_size=4096)

custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='classification',
        dataset=dict(name='ImageNet-1k', version='ILSVRC2012'),
        protocol=dict(epochs=90, batch_size=4096, resolution=224, recipe='linear probe, LARS 1.6 (mmpretrain)'),
    )
]
