"""Convert a teacher's weight file of any known layout to safetensors with a JSON file that describes it."""

import os
from collections.abc import Callable
from pathlib import Path

import torch

from ...errors import WeightsError
from ...utils import sha256_file
from .build import build_vit
from .convert_cnn import convert_cnn, holds_cnn
from .families import FAMILY_NAMES, Hints
from .layouts import Found, identify_file
from .mae_decoder import build_decoder
from .save import save_teacher

#: Keys named of each group that is left out.
_SHOWN = 4


def convert_file(
    path: str | os.PathLike,
    out: str | os.PathLike | None = None,
    prefix: str = '',
    hints: Hints | None = None,
    say: Callable[[str], None] = print,
) -> dict:
    """Recognise a weight file, build its network strictly, and write it by mmpretrain's names.

    Args:
        path: File in any layout of docs/teachers.md; or the checkpoint of a model over a CNN, for a ``CNNTeacher``.
        out: ``*.safetensors`` to write; default: ``weights/NAME.safetensors``.
        prefix: Consider only keys that begin with this.
        hints: What the weights do not tell.
        say: Receives lines for the user.

    Returns:
        The content of the JSON file beside ``out``.

    Raises:
        WeightsError: The file is of no known layout, or does not fit what it looks like, or ``prefix`` or ``hints``
            were given for a CNN: nothing is written.
    """
    path, hints = Path(path).expanduser(), hints or Hints()
    out = Path('weights', path.stem).with_suffix('.safetensors') if out is None else Path(out)
    if out.suffix != '.safetensors':
        raise WeightsError(f'{out}: the output must be named *.safetensors')
    if out.resolve() == path.resolve():
        raise WeightsError(f'{out} is the file to convert: name another one by --out')
    if hints.family is not None and hints.family not in FAMILY_NAMES:
        raise WeightsError(f'family {hints.family!r}: expected one of {", ".join(FAMILY_NAMES)}')
    if holds_cnn(path):
        if prefix or hints != Hints():
            raise WeightsError(
                f'{path} holds a CNN, which says what it is: prefix, family, heads and activation are of ViTs'
            )
        return convert_cnn(path, out, say)
    found = identify_file(path, prefix, hints)
    for line in describe(found, path.name):
        say(line)
    state = {key: value.clone() for key, value in found.state.items()}  # safetensors wants no shared memory
    _check(found, str(path))

    facts = {
        'family': found.family,
        'backbone': found.backbone,
        'img_size': found.backbone['img_size'],
        'decoder': found.decoder,
        'mean': list(found.mean),
        'std': list(found.std),
        'mean_std_order': 'rgb',
        'source': {'file': path.name, 'sha256': sha256_file(path), 'layout': found.layout, 'prefix': found.prefix},
        'dropped': found.dropped,
        'assumed': found.assumed,
    }
    return save_teacher(out, state, facts, say)


def _check(found: Found, source: str) -> None:
    """Load everything strictly and see that an image gives finite tokens."""
    state = {key: value for key, value in found.state.items() if not key.startswith('decoder.')}
    size = found.backbone['img_size']
    vit = build_vit(found.backbone, state, size, source)
    if found.decoder is not None:
        decoder = {k.removeprefix('decoder.'): v for k, v in found.state.items() if k.startswith('decoder.')}
        build_decoder(found.decoder, decoder, tuple(vit.patch_resolution), source)
    broken = [key for key, value in found.state.items() if not value.isfinite().all()]
    if broken:
        raise WeightsError(f'{source}: {len(broken)} tensors hold values that are not finite, e.g. {broken[0]}')
    with torch.no_grad():
        tokens = vit(torch.zeros(1, 3, size, size))[-1]
    if not tokens.isfinite().all():
        raise WeightsError(f'{source}: the tokens of a grey image are not finite')


def describe(found: Found, name: str) -> list[str]:
    """Return what was found as lines for the terminal."""
    backbone = found.backbone
    arch, size, patch = backbone['arch'], backbone['img_size'], backbone['patch_size']
    under = f', keys under {found.prefix!r}' if found.prefix else ''
    lines = [f'{name}: {found.family}, layout of {found.layout}{under}']
    if 'depths' in arch:
        text = f'stages of {arch["depths"]} blocks, {arch["embed_dims"]} wide at first, heads {arch["num_heads"]}'
        text += f', window {backbone["window_size"]}'
    else:
        text = f'{arch["num_layers"]} blocks, {arch["embed_dims"]} wide, {arch["num_heads"]} heads'
        text += f', {backbone["num_registers"]} registers' if 'num_registers' in backbone else ''
    side = size // patch
    lines.append(f'  {text}, patch {patch}, native size {size} px ({side}x{side} patches)')
    if found.decoder is not None:
        decoder = found.decoder
        lines.append(f'  decoder: {decoder["decoder_depth"]} blocks, {decoder["decoder_embed_dim"]} wide')
    mean, std = ([round(v, 2) for v in values] for values in (found.mean, found.std))
    lines.append(f'  images: mean {mean}, std {std} (RGB, 0..255)')
    lines.append(f'  {found.keys_read} keys read')
    for reason, keys in found.dropped.items():
        more = ', ...' if len(keys) > _SHOWN else ''
        lines.append(f'  {len(keys)} left out ({reason}): {", ".join(keys[:_SHOWN])}{more}')
    lines += [f'  assumed: {text}' for text in found.assumed]
    return lines
