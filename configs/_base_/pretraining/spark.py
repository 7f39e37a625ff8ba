# SparK with its published optimizer (LAMB, weight decay rising from 0.04 to 0.2) on 8 x 512 images. Decoder and pixel
# head are those of this project, of SparK's width.
_base_ = 'in1k.py'

max_epochs = 1600
warmup_epochs = 40

model = dict(
    type='SparK',
    neck=dict(type='UNetDecoder', channels=[96, 192, 384, 768], out_level=0),
    head=dict(type='PixelReconstructionHead', in_channels=96, stride=4, patch_size=_base_.patch_size),
    patch_size=_base_.patch_size,
    data_preprocessor=_base_.data_preprocessor,
)
train_dataloader = dict(batch_size=512)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='mmpretrain.Lamb', lr=3.2e-3, betas=(0.9, 0.95), weight_decay=0.04),
    paramwise_cfg=dict(bias_decay_mult=0.0, flat_decay_mult=0.0, custom_keys=dict(mask_token=dict(decay_mult=0.0))),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=warmup_epochs, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=warmup_epochs, end=max_epochs, convert_to_iter_based=True),
    dict(type='mmpretrain.CosineAnnealingWeightDecay', eta_min=0.2, end=max_epochs, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs)
auto_scale_lr = dict(base_batch_size=4096)
custom_hooks = [dict(type='StudentExportHook', num_batches=100)]
