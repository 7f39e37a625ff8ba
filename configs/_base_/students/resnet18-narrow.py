width = 32  # channels of the stem and first stage; 64 is the full ResNet-18
student = dict(
    type='mmpretrain.ResNet',
    depth=18,
    base_channels=width,
    stem_channels=width,
    out_indices=(0, 1, 2, 3),
)
stage_channels = [width, 2 * width, 4 * width, 8 * width]
