# The same teacher, decoder, loss and schedule as H-GKD, nothing hidden: shows what masking is worth.
_base_ = 'hgkd.py'

model = dict(
    _delete_=True,
    type='DenseDistillation',
    **{key: value for key, value in _base_.model.items() if key not in ('type', 'patch_size')},
)
