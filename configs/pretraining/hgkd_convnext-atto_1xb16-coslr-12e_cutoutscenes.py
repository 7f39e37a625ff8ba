_base_ = ['../_base_/pretraining/hgkd_cutoutscenes.py', '../_base_/students/convnext-atto.py']

model = dict(backbone=_base_.student, neck=dict(in_channels=_base_.stage_channels))
