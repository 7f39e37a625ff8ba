"""Loading of backbone weights which either fits completely or fails."""

from collections.abc import Iterable, Mapping

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from ..errors import WeightsError
from ..registry import WEIGHT_INITIALIZERS
from .checkpoint import load_checkpoint_file, state_dict_of


def load_strictly(module: nn.Module, weights: Mapping[str, torch.Tensor], source: str) -> int:
    """Load weights into a module, or change nothing and say what does not fit.

    Only BatchNorm's ``num_batches_tracked`` may be absent: no output depends on that counter.

    Args:
        module: Takes the weights.
        weights: State dict with the module's own key names.
        source: Name of the file for messages.

    Returns:
        Number of tensors loaded.

    Raises:
        WeightsError: Missing, unexpected or mis-shaped keys.
    """
    own = module.state_dict()
    missing = [k for k in own if k not in weights and not k.endswith('num_batches_tracked')]
    unexpected = [k for k in weights if k not in own]
    shapes = [
        f'{k} {tuple(weights[k].shape)} instead of {tuple(own[k].shape)}'
        for k in own
        if k in weights and weights[k].shape != own[k].shape
    ]
    problems = [
        f'{len(found)} {name}: {_first(found)}'
        for name, found in (
            ('missing', missing),
            ('unexpected', unexpected),
            ('mis-shaped', shapes),
        )
        if found
    ]
    if problems:
        raise WeightsError(
            f'{source} does not fit {type(module).__name__} ({len(own)} tensors): '
            f'{"; ".join(problems)}. '
            'Use weights of the same architecture, depth and width, or change the config '
            f'to theirs{_hint(unexpected)}'
        )
    module.load_state_dict(weights, strict=False)
    return len(weights)


def _first(keys: Iterable[str], count: int = 3) -> str:
    keys = list(keys)
    return ', '.join(keys[:count]) + (', ...' if len(keys) > count else '')


def _hint(unexpected: list[str]) -> str:
    if any(key.startswith('backbone.') for key in unexpected):
        return '; the file is a whole model: export its backbone with tools/export_backbone.py'
    return ''


@WEIGHT_INITIALIZERS.register_module()
class StrictPretrained:
    """Initializer like mmengine's ``Pretrained`` which refuses a partial load.

    .. code-block:: python

        backbone=dict(type='mmpretrain.ResNet', depth=18,
                      init_cfg=dict(type='hgkd_mm.StrictPretrained', checkpoint='backbone.pth'))

    Args:
        checkpoint: ``.pth`` (with or without ``'state_dict'``) or ``.safetensors``; a path or URL.
        prefix: Load only the keys which begin with it, without it; e.g. ``'backbone.'`` for the
            checkpoint of a whole model. None: all keys.
        map_location: As in :func:`torch.load`.

    Raises:
        WeightsError: On call, when the file cannot be read or does not fit the module exactly.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None, map_location: str = 'cpu') -> None:
        self.checkpoint = str(checkpoint)
        self.prefix = prefix
        self.map_location = map_location

    def __call__(self, module: nn.Module) -> None:
        """Load the weights into ``module`` and keep every later initialization off them."""
        if '://' in self.checkpoint:
            checkpoint = CheckpointLoader.load_checkpoint(self.checkpoint, self.map_location)
        else:
            checkpoint = load_checkpoint_file(self.checkpoint, self.map_location)
        weights = state_dict_of(checkpoint, self.checkpoint)
        if self.prefix is not None:
            prefix = self.prefix.rstrip('.') + '.'
            selected = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
            if not selected:
                raise WeightsError(
                    f'{self.checkpoint} has no key which begins with {prefix!r}; it has {_first(weights)}'
                )
            weights = selected
        count = load_strictly(module, weights, self.checkpoint)
        self._protect(module)
        print_log(f'StrictPretrained: all {count} tensors of {self.checkpoint} loaded', logger='current')

    def _protect(self, module: nn.Module) -> None:
        # mmengine knows only its own 'Pretrained' to be last. Ours runs before the children's
        # init_weights and before e.g. ResNet's zero_init_residual, which would undo the load:
        # the former skip what is initialized already, the latter look at init_cfg['type'].
        for child in module.modules():
            if child is not module and isinstance(child, BaseModule):
                child.is_init = True
        if isinstance(module, BaseModule):
            module.init_cfg = dict(type='Pretrained', checkpoint=self.checkpoint, prefix=self.prefix)

    def _get_init_info(self) -> str:
        return f'{type(self).__name__}: load from {self.checkpoint}'
