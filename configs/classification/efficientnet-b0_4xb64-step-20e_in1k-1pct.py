_base_ = ['../_base_/classification/semi-1pct-20e.py', '../_base_/students/efficientnet-b0.py']
model = dict(
    backbone=dict(**_base_.student),
    head=dict(in_channels=_base_.stage_channels[-1]),
)
