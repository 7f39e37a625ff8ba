_base_ = ['../_base_/detection/mask-rcnn_adamw-ms-crop-3x.py', '../_base_/students/convnext-small.py']

model = dict(backbone=dict(**_base_.student, drop_path_rate=0.6), neck=dict(in_channels=_base_.stage_channels))
