# SparK on the same student, data and schedule: pixels instead of a teacher.
_base_ = 'hgkd_cutoutscenes.py'

model = dict(
    type='SparK',
    neck=dict(channels=[16, 32, 128, 256], out_level=0),  # pixels need the finest level
    head=dict(_delete_=True, type='PixelReconstructionHead', in_channels=16, stride=4, patch_size=32),
)
custom_hooks = [hook for hook in _base_.custom_hooks if hook['type'] != 'TeacherHook']
