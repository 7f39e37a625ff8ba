"""Layer-wise learning rates for any CNN backbone, in classifiers, detectors and segmentors alike."""

import math
import re
from collections.abc import Iterable

from mmengine import registry as root
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from ..errors import ConfigError

OPTIM_WRAPPER_CONSTRUCTORS = root.Registry(
    'optimizer wrapper constructor',
    parent=root.OPTIM_WRAPPER_CONSTRUCTORS,
    scope='hgkd_mm',
    locations=['hgkd_mm.engine'],
)

#: Blocks of one stage that share a learning rate, at most: what SparK and ConvNeXt use.
BLOCKS_PER_LAYER = 3

#: A block of a stage: `layer3.1.` (ResNet, MobileNetV2), `stages.2.0.` (ConvNeXt), `layers.4.1.` (EfficientNet).
_BLOCK = re.compile(r'(?:layer|layers\.|stage|stages\.)(\d+)\.(\d+)\.')
#: ConvNeXt keeps the convolutions between stages apart; the one before stage 0 is the stem.
_DOWNSAMPLE = re.compile(r'downsample_layers\.(\d+)\.')
#: Normalisation of a stage's output, which belongs to whatever reads it.
_OUTPUT_NORM = re.compile(r'norm\d*\.')


def layer_depths(names: Iterable[str]) -> tuple[dict[str, int], int]:
    """Number the layers of a backbone from its parameters' names.

    The stem is 0. A stage is one layer for every three blocks it has, in parts of equal length. What follows the last
    stage belongs to the last layer; the normalisation of outputs counts as a head. For ResNet-50 and -101 and ConvNeXt
    these are the layers of SparK's and ConvNeXt's recipes, as mmpretrain has them.

    Args:
        names: Names of the backbone's parameters in order of registration, without a prefix.

    Returns:
        Each name's depth, from 0 to ``num_layers + 1`` (a head's), and ``num_layers``.

    Raises:
        ConfigError: The names show no stages.
    """
    names = list(names)
    blocks: dict[int, int] = {}
    for name in names:
        if found := _BLOCK.match(name):
            stage, block = map(int, found.groups())
            blocks[stage] = max(blocks.get(stage, 0), block + 1)
    if not blocks:
        raise ConfigError(
            f'layer decay: the backbone has no stages; its parameters are {", ".join(names[:3])}, ... Expected names '
            'such as layer1.0.*, stages.0.0.* or layers.1.0.*. Leave the constructor out of optim_wrapper for it'
        )
    first, size, num_layers = {}, {}, 0
    for stage in sorted(blocks):
        parts = math.ceil(blocks[stage] / BLOCKS_PER_LAYER)
        first[stage], size[stage] = num_layers + 1, math.ceil(blocks[stage] / parts)
        num_layers += parts

    depths, reached = {}, 0
    for name in names:
        if found := _BLOCK.match(name):
            stage, block = map(int, found.groups())
            depth = first[stage] + block // size[stage]
            reached = num_layers
        elif found := _DOWNSAMPLE.match(name):
            depth = first[int(found[1])] if found[1] != '0' else 0
        elif _OUTPUT_NORM.match(name):
            depth = num_layers + 1
        else:
            depth = reached
        depths[name] = depth
    return depths, num_layers


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's default constructor, with a learning rate that decays from the heads to the backbone's stem.

    A parameter of layer ``d`` of ``n`` (see :func:`layer_depths`) gets ``lr * layer_decay_rate ** (n + 1 - d)``; all
    outside ``model.backbone`` keep ``lr``. Every other option of ``paramwise_cfg`` works as usual.

    .. code-block:: python

        optim_wrapper = dict(
            optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.05),
            constructor='hgkd_mm.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.7, norm_decay_mult=0.0, bias_decay_mult=0.0))

    Raises:
        ConfigError: No rate in ``(0, 1]``, or on call: the model has no backbone, or one without stages.
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        rate = self.paramwise_cfg.get('layer_decay_rate')
        if not isinstance(rate, int | float) or not 0 < rate <= 1:
            raise ConfigError(
                f'optim_wrapper.paramwise_cfg.layer_decay_rate={rate!r}, expected a number above 0 and at most 1'
            )

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module: int | float | None = None
    ) -> None:
        """Add a module's parameters to ``params``, one group each, with their learning rates."""
        super().add_params(params, module, prefix, is_dcn_module)
        if prefix:  # called by the base class for a child
            return
        backbone = getattr(module, 'backbone', None)
        if backbone is None:
            raise ConfigError(f'layer decay: {type(module).__name__} has no backbone')
        named = dict(backbone.named_parameters())
        depths, num_layers = layer_depths(named)
        depth_of = {id(parameter): depths[name] for name, parameter in named.items()}
        rate = self.paramwise_cfg['layer_decay_rate']
        for group in params:
            depth = depth_of.get(id(group['params'][0]), num_layers + 1)
            group['lr'] = group.get('lr', self.base_lr) * rate ** (num_layers + 1 - depth)
        print_log(
            f'layer decay {rate}: {num_layers} layers, learning rate of the stem {rate ** (num_layers + 1):.3g} times '
            'that of the heads',
            logger='current',
        )
