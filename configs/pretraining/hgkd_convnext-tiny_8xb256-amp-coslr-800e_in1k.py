_base_ = ['../_base_/pretraining/hgkd.py', '../_base_/pretraining/800e.py', '../_base_/students/convnext-tiny.py']

model = dict(backbone=_base_.student, neck=dict(in_channels=_base_.stage_channels))
