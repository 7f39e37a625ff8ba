_base_ = ['../_base_/classification/finetune-300e.py', '../_base_/students/resnet101.py']

model = dict(
    backbone=dict(**_base_.student, drop_path_rate=0.2),
    head=dict(in_channels=_base_.stage_channels[-1]),
)
# SparK's values from ResNet-101 on, the drop path rate too
optim_wrapper = dict(optimizer=dict(lr=0.008), paramwise_cfg=dict(layer_decay_rate=0.8))
