# Distillation of the same teacher into the same student without masking.
_base_ = ['hgkd_resnet18_1xb64-coslr-40e_cutoutscenes.py']

model = dict(type='DenseDistillation')
