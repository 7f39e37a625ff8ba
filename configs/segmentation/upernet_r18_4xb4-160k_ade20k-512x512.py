_base_ = ['../_base_/segmentation/upernet_160k.py', '../_base_/students/resnet18.py']

model = dict(
    backbone=dict(**_base_.student),
    decode_head=dict(in_channels=_base_.stage_channels),
    auxiliary_head=dict(in_channels=_base_.stage_channels[2]),
)
