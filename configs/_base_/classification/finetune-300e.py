# SparK's ImageNet fine-tuning as mmpretrain gives it: LAMB, layer decay 0.7, BCE, mixup and CutMix. Its own layer decay
# knows no ResNet-18; ours works for every student.
_base_ = 'mmpretrain::spark/benchmarks/resnet50_8xb256-coslr-300e_in1k.py'

custom_imports = dict(imports=['hgkd_mm'], allow_failed_imports=False)
pretrained = None  # backbone.pth; None trains from scratch
data_root = 'data/imagenet'

model = dict(backbone=dict(_delete_=True))
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
optim_wrapper = dict(constructor='hgkd_mm.LayerDecayOptimWrapperConstructor')
sync_bn = 'torch'
auto_scale_lr = dict(enable=True)

custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='classification',
        dataset=dict(name='ImageNet-1k', version='ILSVRC2012'),
        protocol=dict(epochs=300, batch_size=2048, resolution=224, recipe='SparK fine-tuning (mmpretrain)'),
    )
]
