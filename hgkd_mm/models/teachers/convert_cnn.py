"""Convert the CNN in a model's checkpoint to a teacher's files."""

import os
from collections.abc import Callable
from pathlib import Path

import torch

from ...errors import WeightsError
from ...transfer.checkpoint import load_checkpoint_file
from ...transfer.export import describe
from ...transfer.formats import Backbone, sample_images
from ...utils import sha256_file
from .cnn_teacher import STAGES
from .families import IMAGENET_MEAN, IMAGENET_STD
from .save import save_teacher


def holds_cnn(path: str | os.PathLike) -> bool:
    """Say whether a file is a model's checkpoint or a ``backbone.pth``, with a network :class:`CNNTeacher` takes."""
    try:
        meta = load_checkpoint_file(path).get('meta')
    except WeightsError:  # of foreign teachers more can be read, see identify_file
        return False
    if not isinstance(meta, dict):
        return False
    backbone = meta.get('backbone') or describe(meta)['backbone'] or {}
    return str(backbone.get('type')).rpartition('.')[2] in STAGES


def convert_cnn(path: str | os.PathLike, out: Path, say: Callable[[str], None] = print) -> dict:
    """Write the CNN of a file, for which :func:`holds_cnn`, as a teacher.

    Args:
        path: Checkpoint or ``backbone.pth``.
        out: ``*.safetensors`` file to write.
        say: Receives lines for the user.

    Returns:
        The content of the JSON file beside ``out``.

    Raises:
        WeightsError: The weights do not fit the network that the file names, are not finite, or it sees BGR images.
    """
    backbone = Backbone(path)
    normalization = backbone.meta.get('normalization') or {}
    if normalization.get('channel_order', 'rgb') != 'rgb':
        raise WeightsError(f'{path}: its network sees BGR images, expected RGB: a teacher shows it no other')
    network = backbone.build()
    with torch.no_grad():
        maps = network(sample_images())
    if not all(part.isfinite().all() for part in maps):
        raise WeightsError(f'{path}: the features of an image of noise are not finite')
    facts = {
        'family': 'cnn',
        'backbone': backbone.dense_config,
        'mean': normalization.get('mean', list(IMAGENET_MEAN)),
        'std': normalization.get('std', list(IMAGENET_STD)),
        'mean_std_order': 'rgb',
        'source': {'file': Path(path).name, 'sha256': sha256_file(path), 'method': backbone.meta.get('method')},
    }
    state = {key: value.detach().clone().contiguous() for key, value in network.state_dict().items()}
    say(f'{Path(path).name}: {backbone.kind} of {backbone.meta.get("method")}, {len(state)} tensors')
    return save_teacher(out, state, facts, say)
