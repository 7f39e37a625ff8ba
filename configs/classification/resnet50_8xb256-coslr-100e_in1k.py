_base_ = ['../_base_/classification/finetune-100e.py', '../_base_/students/resnet50.py']

model = dict(
    backbone=dict(**_base_.student, drop_path_rate=0.05),
    head=dict(in_channels=_base_.stage_channels[-1]),
)
