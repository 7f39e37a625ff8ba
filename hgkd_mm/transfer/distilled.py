"""The initializer that puts an exported backbone into any model, completely or not at all."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from ..errors import WeightsError
from ..registry import WEIGHT_INITIALIZERS
from ..utils import sha256_file
from .checkpoint import load_checkpoint_file, state_dict_of
from .export import fingerprint
from .normalization import check_when_run
from .strict import first_of, load_strictly

#: Arguments of a backbone which change what it computes but no key and no shape, with their usual values.
SILENT_ARGUMENTS = {'style': 'pytorch'}


@WEIGHT_INITIALIZERS.register_module()
class DistilledBackbone:
    """Initializer like mmengine's ``Pretrained`` which refuses everything but a complete, matching load.

    .. code-block:: python

        backbone=dict(type='ResNet', depth=18,
                      init_cfg=dict(type='hgkd_mm.DistilledBackbone', checkpoint='backbone.pth'))

    Besides keys and shapes it checks that the values are sound and are those which were exported, and, when the model
    first runs, that its images are normalised as in pretraining. One line of the log says what was loaded.

    Args:
        checkpoint: ``.pth`` (with or without ``'state_dict'``) or ``.safetensors``; a path or URL.
        prefix: Load only the keys which begin with it, without it; e.g. ``'backbone.'`` for the
            checkpoint of a whole model. None: all keys.
        ignore: Beginnings of keys which the file may have and the module does not take, such as ``['fc.']``.
        map_location: As in :func:`torch.load`.

    Raises:
        WeightsError: On call, when the file cannot be read or does not fit the module exactly.
    """

    def __init__(
        self, checkpoint: str, prefix: str | None = None, ignore: Sequence[str] = (), map_location: str = 'cpu'
    ) -> None:
        self.checkpoint = str(checkpoint)
        self.prefix = prefix
        self.ignore = tuple(ignore)
        self.map_location = map_location

    def __call__(self, module: nn.Module) -> None:
        """Load the weights into ``module`` and keep every later initialization off them."""
        if '://' in self.checkpoint:
            checkpoint = CheckpointLoader.load_checkpoint(self.checkpoint, self.map_location)
        else:
            checkpoint = load_checkpoint_file(self.checkpoint, self.map_location)
        weights = state_dict_of(checkpoint, self.checkpoint)
        meta = checkpoint.get('meta')
        meta = meta if isinstance(meta, Mapping) else {}
        check_values(weights, meta, self.checkpoint)
        weights = self._select(weights)
        check_arguments(module, meta, self.checkpoint)
        count = load_strictly(module, weights, self.checkpoint)
        self._protect(module)
        if meta.get('normalization'):
            check_when_run(module, meta['normalization'], self.checkpoint)
        print_log(f'DistilledBackbone: {count} tensors of {describe_file(self.checkpoint, meta)}', logger='current')

    def _select(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.prefix is not None:
            prefix = self.prefix.rstrip('.') + '.'
            selected = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
            if not selected:
                raise WeightsError(
                    f'{self.checkpoint} has no key which begins with {prefix!r}; it has {first_of(weights)}'
                )
            weights = selected
        return {key: value for key, value in weights.items() if not key.startswith(self.ignore)}

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


def check_values(weights: Mapping[str, torch.Tensor], meta: Mapping[str, Any], source: str) -> None:
    """See that weights are dense finite numbers, statistics possible, and all as they were exported.

    Args:
        weights: State dict.
        meta: The file's ``meta``; its ``weights_sha256`` is compared when there is one.
        source: Name of the file for messages.

    Raises:
        WeightsError: They are not.
    """
    for key, value in weights.items():
        if value.layout is not torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
            raise WeightsError(f'{source}: {key} is no dense tensor of real numbers but {value.layout}, {value.dtype}')
        if not value.is_floating_point():
            if not key.endswith('num_batches_tracked'):
                raise WeightsError(
                    f'{source}: {key} has type {value.dtype}, expected floating point numbers: quantised weights '
                    'cannot be trained on'
                )
        elif not torch.isfinite(value).all():
            raise WeightsError(f'{source}: {key} has values that are not finite: the run it comes from diverged')
        elif key.endswith('running_var') and (value < 0).any():
            raise WeightsError(f'{source}: {key} has negative variances: the file is damaged')
    expected = meta.get('weights_sha256')
    if expected is not None and fingerprint(weights) != expected:
        raise WeightsError(
            f'{source}: the weights are not those which were exported (their SHA-256 is not the one in its meta): '
            'the file was changed or damaged since, export it again'
        )


def check_arguments(module: nn.Module, meta: Mapping[str, Any], source: str) -> None:
    """See that the network computes what the exported one computed, where keys and shapes do not show it.

    Raises:
        WeightsError: An argument of :data:`SILENT_ARGUMENTS` differs.
    """
    exported = meta.get('backbone')
    if not isinstance(exported, Mapping):
        return
    for name, usual in SILENT_ARGUMENTS.items():
        there, here = exported.get(name, usual), getattr(module, name, usual)
        if there != here:
            raise WeightsError(
                f'{source} was trained with {name}={there!r}, but this {type(module).__name__} has {name}={here!r}: '
                'the same keys mean another network. Set the backbone to the former'
            )


def describe_file(checkpoint: str | os.PathLike, meta: Mapping[str, Any]) -> str:
    """Say in one line which file this is and which pretraining it comes from."""
    path = Path(checkpoint)
    text = str(checkpoint)
    if path.is_file():
        text += f' (sha256 {sha256_file(path)})'
    if not meta.get('method'):
        return f'{text}, which does not say where it comes from'
    backbone, teacher = meta.get('backbone') or {}, meta.get('teacher') or {}
    if isinstance(teacher, Mapping):
        teacher = teacher.get('name') or teacher.get('weights') or teacher.get('type')
    facts = {
        'backbone': ' '.join(str(backbone[key]) for key in ('type', 'depth', 'arch') if key in backbone),
        'teacher': teacher,
        'epochs': meta.get('epochs'),
        'mask ratio': meta.get('mask_ratio'),
        'seed': meta.get('seed'),
        'run': meta.get('experiment'),
    }
    known = ', '.join(f'{name} {value}' for name, value in facts.items() if value not in (None, ''))
    return f'{text}, pretrained by {meta["method"]}: {known}'
