_base_ = ['../_base_/segmentation/upernet_cutoutscenes.py', '../_base_/students/convnext-atto.py']

model = dict(backbone=dict(**_base_.student), decode_head=dict(in_channels=_base_.stage_channels))
