_base_ = 'convnext-tiny_8xb512-linear-coslr-90e_in1k.py'
student = dict(arch='small')
model = dict(backbone=dict(arch='small'))
