_base_ = ['../_base_/detection/mask-rcnn_fpn_cutoutscenes.py', '../_base_/students/convnext-atto.py']

model = dict(backbone=dict(**_base_.student), neck=dict(in_channels=_base_.stage_channels))
