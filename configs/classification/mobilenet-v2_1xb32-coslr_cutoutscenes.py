_base_ = ['../_base_/classification/finetune_cutoutscenes.py', '../_base_/students/mobilenet-v2.py']

model = dict(backbone=dict(**_base_.student, _delete_=True), head=dict(in_channels=_base_.stage_channels[-1]))
