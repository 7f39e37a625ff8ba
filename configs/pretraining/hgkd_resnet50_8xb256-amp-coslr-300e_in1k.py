_base_ = ['../_base_/pretraining/hgkd.py', '../_base_/pretraining/300e.py', '../_base_/students/resnet50.py']

model = dict(backbone=_base_.student, neck=dict(in_channels=_base_.stage_channels))
