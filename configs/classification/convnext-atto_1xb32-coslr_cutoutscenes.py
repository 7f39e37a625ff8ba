_base_ = ['../_base_/classification/finetune_cutoutscenes.py', '../_base_/students/convnext-atto.py']

pretrained_ignore = ['norm0.', 'norm1.', 'norm2.']  # normalise the finer outputs, which a classifier does not read
model = dict(
    # pools before the last norm, as ConvNeXt's classifiers do
    backbone=dict(**{**_base_.student, 'out_indices': (3,), 'gap_before_final_norm': True}, _delete_=True),
    neck=None,
    head=dict(in_channels=_base_.stage_channels[-1]),
)
