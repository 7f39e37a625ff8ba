_base_ = 'convnext-tiny_8xb256-coslr-300e_in1k.py'
student = dict(arch='small')
model = dict(backbone=dict(arch='small', drop_path_rate=0.3))
