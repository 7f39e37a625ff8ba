# Distillation of the same teacher into the same student without masking.
_base_ = ['hgkd_resnet18_1xb16-coslr-12e_cutoutscenes.py']

model = dict(
    _delete_=True,
    type='DenseDistillation',
    **{key: _base_.model[key] for key in ('backbone', 'neck', 'head', 'data_preprocessor')},
)
