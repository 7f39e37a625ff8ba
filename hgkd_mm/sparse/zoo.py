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
    'CSPResNet-50': dict(type='CSPResNet', depth=50, out_indices=ALL_STAGES),
    'Res2Net-50': _resnet('Res2Net', scales=4, base_width=26),
    'EfficientNetV2-B0': dict(type='EfficientNetV2', arch='b0', out_indices=(2, 3, 5, 6)),
    'MobileOne-S0': dict(type='MobileOne', arch='s0', out_indices=ALL_STAGES),
    'ShuffleNetV1': dict(type='ShuffleNetV1', out_indices=(0, 1, 2)),
    'VAN-T': dict(type='VAN', arch='tiny', out_indices=ALL_STAGES),
    'HorNet-T': dict(type='HorNet', arch='tiny', out_indices=ALL_STAGES, gap_before_final_norm=False),
    'PoolFormer-S12': dict(type='PoolFormer', arch='s12', out_indices=(0, 2, 4, 6)),
}

#: Networks of mmpretrain that have no exact sparse form: making them sparse says why.
REFUSED: dict[str, dict] = {
    'AlexNet': dict(type='AlexNet'),
    'Inception V3': dict(type='InceptionV3'),
    'ResNeSt-50': _resnet('ResNeSt'),
    'MobileViT-XXS': dict(type='MobileViT', arch='xx_small', out_indices=(1, 2, 3, 4)),
}
