# The same on 1 % of the labels, the new classifier 100 times as fast as the backbone.
# The list of images is written by: python tools/prepare_data.py imagenet --root data/imagenet --subset 1
_base_ = 'semi-10pct-20e.py'

subset = 'meta/train_1percent.txt'

train_dataloader = dict(dataset=dict(ann_file=subset))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=100))))
custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='classification',
        dataset=dict(name='ImageNet-1k, 1 % of the labels', version='ILSVRC2012'),
        protocol=dict(epochs=20, batch_size=256, resolution=224, recipe='semi-supervised, SGD 0.01, head x100'),
    )
]
