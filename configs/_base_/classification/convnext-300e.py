# ConvNeXt's fine-tuning: AdamW, layer decay 0.7, EMA, as mmpretrain does it for a ConvNeXtV2-T that SparK pretrained.
_base_ = 'mmpretrain::spark/benchmarks/convnextv2-tiny_8xb256-coslr-300e_in1k.py'

custom_imports = dict(imports=['hgkd_mm'], allow_failed_imports=False)
pretrained = None  # backbone.pth; None trains from scratch
pretrained_ignore = ['norm0.', 'norm1.', 'norm2.']  # normalise the finer outputs, which a classifier does not read
data_root = 'data/imagenet'

model = dict(backbone=dict(_delete_=True))
train_dataloader = dict(batch_size=256, dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
optim_wrapper = dict(constructor='hgkd_mm.LayerDecayOptimWrapperConstructor')
auto_scale_lr = dict(enable=True)

custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='hgkd_mm.ResultHook',
        task='classification',
        dataset=dict(name='ImageNet-1k', version='ILSVRC2012'),
        protocol=dict(
            epochs=300,
            batch_size=2048,
            resolution=224,
            recipe='SparK fine-tuning of ConvNeXtV2-T (mmpretrain)',
        ),
    ),
]
