_base_ = 'convnext-tiny_4xb64-step-20e_in1k-10pct.py'
student = dict(arch='small')
model = dict(backbone=dict(arch='small'))
