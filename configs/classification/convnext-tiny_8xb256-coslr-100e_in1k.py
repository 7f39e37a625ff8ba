_base_ = ['../_base_/classification/convnext-100e.py', '../_base_/students/convnext-tiny.py']

model = dict(
    backbone=dict(**{**_base_.student, 'out_indices': (3,), 'gap_before_final_norm': True}, drop_path_rate=0.1),
    head=dict(in_channels=_base_.stage_channels[-1]),
)
