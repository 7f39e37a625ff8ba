_base_ = ['../_base_/detection/retinanet_1x.py', '../_base_/students/resnet18.py']

model = dict(backbone=dict(**_base_.student), neck=dict(in_channels=_base_.stage_channels))
