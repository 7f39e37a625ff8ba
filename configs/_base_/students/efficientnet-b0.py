# Strides 4 to 32; the last output is that of the final 1x1 convolution, so that no layer is left out.
student = dict(type='mmpretrain.EfficientNet', arch='b0', out_indices=(2, 3, 4, 6))
stage_channels = [24, 40, 112, 1280]
