_base_ = ['../_base_/segmentation/fpn_160k.py', '../_base_/students/resnet50.py']

model = dict(backbone=dict(**_base_.student), neck=dict(in_channels=_base_.stage_channels))
