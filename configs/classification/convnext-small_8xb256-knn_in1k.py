_base_ = 'convnext-tiny_8xb256-knn_in1k.py'
student = dict(arch='small')
model = dict(backbone=dict(arch='small'))
