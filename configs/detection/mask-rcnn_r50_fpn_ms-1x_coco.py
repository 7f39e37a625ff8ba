_base_ = ['../_base_/detection/mask-rcnn_ms-1x.py', '../_base_/students/resnet50.py']

model = dict(backbone=dict(**_base_.student), neck=dict(in_channels=_base_.stage_channels))
