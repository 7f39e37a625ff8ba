_base_ = ['../_base_/segmentation/upernet_adamw-160k.py', '../_base_/students/convnext-small.py']

model = dict(
    backbone=dict(**_base_.student, drop_path_rate=0.3),
    decode_head=dict(in_channels=_base_.stage_channels),
    auxiliary_head=dict(in_channels=_base_.stage_channels[2]),
)
