"""Supervised classifiers, as mmpretrain, torchvision and timm publish them, as files of a student's backbone."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmpretrain.registry import MODELS
from torch import Tensor

from ..engine.config import OWN_CONFIGS, load_config
from ..errors import ConfigError, HGKDError, WeightsError
from ..utils import sha256_file
from .align import align_by_execution
from .checkpoint import load_checkpoint_file, state_dict_of
from .export import backbone_of, describe, save_backbone
from .formats import CLASSIFIER_ARGUMENTS, Pooled, build_in_library, compare, sample_images
from .strict import load_strictly

STUDENTS = OWN_CONFIGS / '_base_' / 'students'
#: What a classifier's ConvNeXt lacks: the norms of the finer outputs.
_FINER_NORMS = ('norm0.', 'norm1.', 'norm2.')


def write_supervised(checkpoint: str | os.PathLike, student: str, out: str | os.PathLike) -> dict[str, Any]:
    """Write ``backbone.pth`` from the file of a supervised classifier, for ``pretrained=FILE`` of any config.

    torchvision's or timm's layers are paired with the student's in the order in which they run, and both networks must
    compute the same. The norms of a ConvNeXt's finer outputs, which a classifier does not have, begin as the identity.

    Args:
        checkpoint: Local file: a classifier's checkpoint of mmpretrain, or a state dict of torchvision or timm.
        student: Name of a file in ``configs/_base_/students``, such as ``'convnext-tiny'``.
        out: File to write.

    Returns:
        The ``meta`` written; its ``source`` has the file's name, SHA-256 and layout.

    Raises:
        ConfigError: No such student.
        WeightsError: The file is damaged, is no classifier over this student, or its network computes something else.
    """
    path = STUDENTS / f'{student}.py'
    if not path.is_file():
        names = ', '.join(sorted(file.stem for file in STUDENTS.glob('*.py')))
        raise ConfigError(f'student {student!r}: expected one of {names}')
    config = load_config(path).student.to_dict()
    state = state_dict_of(load_checkpoint_file(checkpoint), checkpoint)
    if any(key.startswith('backbone.') for key in state):
        layout, weights = 'mmpretrain', backbone_of(state, checkpoint)
    else:
        layout, weights = _translate(state, config, str(checkpoint))
    network = MODELS.build(config)
    norms = {key: value for key, value in network.state_dict().items() if key.startswith(_FINER_NORMS)}
    load_strictly(network, norms | weights, str(checkpoint))
    source = {'file': Path(checkpoint).name, 'sha256': sha256_file(checkpoint), 'layout': layout}
    meta = {**describe({}), 'method': 'supervised', 'backbone': config, 'source': source}
    save_backbone(out, network.state_dict(), meta)
    return meta


def _translate(state: Mapping[str, Tensor], config: dict[str, Any], source: str) -> tuple[str, dict[str, Tensor]]:
    """Give another library's weights the keys of mmpretrain; say whose they are."""
    problems = []
    for library in ('torchvision', 'timm'):
        try:
            name, network = build_in_library(config, library, source)
            own = network.state_dict()
            others = [key for key in state if key not in own]
            if len({key.rpartition('.')[0] for key in others}) == 1:  # one layer: the classifier
                state = {key: value for key, value in state.items() if key in own}
            load_strictly(network, state, source)
            network.eval()
            ours, images = Pooled(MODELS.build(config | CLASSIFIER_ARGUMENTS.get(_kind(config), {}))), sample_images()
            load_strictly(ours, align_by_execution(network, ours, images), source)
            compare(network, ours, images, f"mmpretrain's {_kind(config)} with weights of {library}'s {name}")
        except HGKDError as error:
            problems.append(f'{library}: {error}')
        else:
            return f"{library}'s {name}", ours.network.state_dict()
    raise WeightsError('\n'.join([f'{source}: no classifier over this student', *problems]))


def _kind(config: Mapping[str, Any]) -> str:
    return str(config['type']).rpartition('.')[2]
