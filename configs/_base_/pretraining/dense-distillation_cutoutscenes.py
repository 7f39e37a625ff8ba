# Distillation of the same teacher into the same student without masking.
_base_ = 'hgkd_cutoutscenes.py'

model = dict(
    _delete_=True,
    type='DenseDistillation',
    **{key: value for key, value in _base_.model.items() if key not in ('type', 'patch_size')},
)
