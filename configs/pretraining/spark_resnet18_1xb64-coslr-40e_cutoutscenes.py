# SparK on the same student, data and schedule: pixels instead of a teacher.
_base_ = ['hgkd_resnet18_1xb64-coslr-40e_cutoutscenes.py']

model = dict(
    type='SparK',
    head=dict(_delete_=True, type='PixelReconstructionHead', in_channels=16, stride=4, patch_size=32),
)
_hgkd_hooks = {{_base_.custom_hooks}}
custom_hooks = [hook for hook in _hgkd_hooks if hook['type'] != 'TeacherHook']
