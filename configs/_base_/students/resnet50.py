student = dict(type='mmpretrain.ResNet', depth=50, out_indices=(0, 1, 2, 3))
stage_channels = [256, 512, 1024, 2048]
