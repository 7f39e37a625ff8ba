# The same teacher, decoder, loss and schedule as H-GKD, nothing hidden: shows what masking is worth.
_base_ = 'hgkd.py'

model = dict(
    _delete_=True,
    type='DenseDistillation',
    **{key: _base_.model[key] for key in ('neck', 'head', 'data_preprocessor')},
)
