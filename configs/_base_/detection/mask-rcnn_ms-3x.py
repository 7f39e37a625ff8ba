# The 1x recipe three times as long.
_base_ = 'mask-rcnn_ms-1x.py'

train_cfg = dict(max_epochs=36)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.1),
]
custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='detection',
        dataset=dict(name='COCO', version='2017'),
        protocol=dict(
            epochs=36, batch_size=16, resolution='640-800', recipe='Mask R-CNN FPN 3x, SyncBN, SGD (mmpretrain)'
        ),
    )
]
