_base_ = ['../_base_/pretraining/spark.py', '../_base_/students/resnet18.py']

model = dict(backbone=_base_.student, neck=dict(in_channels=_base_.stage_channels))
