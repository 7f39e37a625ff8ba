# Strides 4 to 32; the last output is that of the final 1x1 convolution, so that no layer is left out.
student = dict(type='mmpretrain.MobileNetV2', out_indices=(1, 2, 4, 7))
stage_channels = [24, 32, 96, 1280]
