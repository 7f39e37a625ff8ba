_base_ = ['../_base_/classification/semi-10pct-20e.py', '../_base_/students/convnext-tiny.py']
pretrained_ignore = ['norm0.', 'norm1.', 'norm2.']  # normalise the finer outputs, which a classifier does not read
model = dict(
    backbone=dict(**{**_base_.student, 'out_indices': (3,), 'gap_before_final_norm': True}),
    neck=None,  # pooled by the backbone, before its last normalisation
    head=dict(in_channels=_base_.stage_channels[-1]),
)
