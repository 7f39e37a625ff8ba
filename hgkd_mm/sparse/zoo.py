"""The CNNs of mmpretrain whose sparse form is tested and timed."""

ALL_STAGES = (0, 1, 2, 3)


def _convnext(arch: str, **kwargs: object) -> dict:
    # Pooling before the last norm would give features without a map.
    return dict(type='ConvNeXt', arch=arch, out_indices=ALL_STAGES, gap_before_final_norm=False, **kwargs)


def _resnet(kind: str = 'ResNet', depth: int = 50, **kwargs: object) -> dict:
    return dict(type=kind, depth=depth, out_indices=ALL_STAGES, **kwargs)


V2 = dict(use_grn=True, layer_scale_init_value=0.0)

#: Name: config of the backbone, with the stages that a decoder reads. The total stride of each is 32.
ZOO: dict[str, dict] = {
    'ResNet-18': _resnet(depth=18),
    'ResNet-34': _resnet(depth=34),
    'ResNet-50': _resnet(),
    'ResNet-101': _resnet(depth=101),
    'ResNetV1c-50': _resnet('ResNetV1c'),
    'ResNetV1d-50': _resnet('ResNetV1d'),
    'ResNeXt-50 (32x4d)': _resnet('ResNeXt', groups=32, width_per_group=4),
    'SE-ResNet-50': _resnet('SEResNet'),
    'ConvNeXt-T': _convnext('tiny'),
    'ConvNeXt V2-A': _convnext('atto', **V2),
    'ConvNeXt V2-T': _convnext('tiny', **V2),
    'MobileNetV2': dict(type='MobileNetV2', out_indices=(1, 2, 4, 6)),
    'MobileNetV3-S': dict(type='MobileNetV3', arch='small', out_indices=(0, 1, 3, 8, 11)),
    'MobileNetV3-L': dict(type='MobileNetV3', arch='large', out_indices=(3, 6, 12, 15)),
    'EfficientNet-B0': dict(type='EfficientNet', arch='b0', out_indices=(2, 3, 4, 5)),
    'RegNetX-400MF': dict(type='RegNet', arch='regnetx_400mf', out_indices=ALL_STAGES),
    'ShuffleNetV2': dict(type='ShuffleNetV2', out_indices=(0, 1, 2)),
    'DenseNet-121': dict(type='DenseNet', arch='121', out_indices=ALL_STAGES),
    'VGG-16-BN': dict(type='VGG', depth=16, norm_cfg=dict(type='BN'), out_indices=(1, 2, 3, 4)),
    'RepVGG-A0': dict(type='RepVGG', arch='A0', out_indices=ALL_STAGES),
    'HRNet-W18': dict(type='HRNet', arch='w18'),
    'CSPDarknet-53': dict(type='CSPDarkNet', depth=53, out_indices=(1, 2, 3, 4)),
}
