_base_ = ['../_base_/classification/linear-90e.py', '../_base_/students/resnet18.py']

model = dict(
    backbone=dict(**_base_.student),
    head=dict(in_channels=_base_.stage_channels[-1]),
)
