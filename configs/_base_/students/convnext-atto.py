_base_ = 'convnext-tiny.py'
student = dict(arch='atto')
stage_channels = [40, 80, 160, 320]
