_base_ = '../_base_/detection/mask-rcnn_fpn_cutoutscenes.py'

width = 32  # channels of the stem and first stage; the pretrained backbone's

model = dict(
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=18,
        base_channels=width,
        stem_channels=width,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_eval=False,
    ),
    neck=dict(in_channels=[width, 2 * width, 4 * width, 8 * width]),
)
