student = dict(type='mmpretrain.ResNet', depth=34, out_indices=(0, 1, 2, 3))
stage_channels = [64, 128, 256, 512]
