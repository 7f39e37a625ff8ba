# SparK with its published recipe (pretrain/ of its repository): LAMB, weight decay rising from 0.04 to 0.2, 8 x 512
# images, larger crops. Decoder and pixel head are those of this project, of SparK's width; mixed precision is ours.
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
train_pipeline = [
    {**step, 'crop_ratio_range': (0.67, 1.0)} if step['type'] == 'mmpretrain.RandomResizedCrop' else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(batch_size=512, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    type='AmpOptimWrapper',
    # LAMB itself clips the norm of all gradients
    optimizer=dict(type='mmpretrain.Lamb', lr=3.2e-3, betas=(0.9, 0.95), weight_decay=0.04, max_grad_norm=5.0),
    paramwise_cfg=dict(bias_decay_mult=0.0, flat_decay_mult=0.0, custom_keys=dict(mask_token=dict(decay_mult=0.0))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=5e-3, end=warmup_epochs, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-3,
        begin=warmup_epochs,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
    dict(type='mmpretrain.CosineAnnealingWeightDecay', eta_min=0.2, end=max_epochs, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs)
auto_scale_lr = dict(base_batch_size=4096)
custom_hooks = [dict(type='StudentExportHook', num_batches=100)]
