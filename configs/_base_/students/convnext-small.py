_base_ = 'convnext-tiny.py'
student = dict(arch='small')
