_base_ = '../_base_/classification/finetune_cutoutscenes.py'

width = 32  # channels of the stem and first stage; the pretrained backbone's

model = dict(backbone=dict(base_channels=width, stem_channels=width), head=dict(in_channels=8 * width))
