_base_ = ['../_base_/classification/knn.py', '../_base_/students/convnext-small.py']

pretrained_ignore = ['norm0.', 'norm1.', 'norm2.']  # normalise the finer outputs, which a classifier does not read
model = dict(backbone=dict(**{**_base_.student, 'out_indices': (3,), 'gap_before_final_norm': True}))
