_base_ = ['../_base_/pretraining/spark.py', '../_base_/students/convnext-tiny.py']

model = dict(backbone=_base_.student, neck=dict(in_channels=_base_.stage_channels))
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)))  # as SparK has it for ConvNeXt
