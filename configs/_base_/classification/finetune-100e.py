# The 300-epoch recipe in a third of the time: whether pretraining helps, or only longer fine-tuning.
_base_ = 'finetune-300e.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=5, end=100),
]
train_cfg = dict(max_epochs=100)
custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='classification',
        dataset=dict(name='ImageNet-1k', version='ILSVRC2012'),
        protocol=dict(epochs=100, batch_size=2048, resolution=224, recipe='SparK fine-tuning, 100 epochs'),
    )
]
