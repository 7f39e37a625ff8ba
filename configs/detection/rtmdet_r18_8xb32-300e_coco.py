_base_ = ['../_base_/detection/rtmdet_300e.py', '../_base_/students/resnet18.py']

model = dict(
    backbone=dict(**{**_base_.student, 'out_indices': (1, 2, 3)}),
    neck=dict(in_channels=_base_.stage_channels[1:]),
)
