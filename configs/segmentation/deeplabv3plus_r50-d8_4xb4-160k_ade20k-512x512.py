_base_ = ['../_base_/segmentation/deeplabv3plus_160k.py', '../_base_/students/resnet50.py']

model = dict(
    # Stride 8: the last two stages are dilated instead of strided, over the same weights. mmseg's ResNet, for
    # mmpretrain's cannot contract the dilation of a stage's first block.
    backbone=dict(
        **{**_base_.student, 'type': 'ResNet'},
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
    ),
    decode_head=dict(in_channels=_base_.stage_channels[-1], c1_in_channels=_base_.stage_channels[0]),
    auxiliary_head=dict(in_channels=_base_.stage_channels[2]),
)
