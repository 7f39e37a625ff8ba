"""Recognises whose weights a file holds, and brings them to mmpretrain's names."""

import argparse
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ....compat import safe_globals
from ....errors import WeightsError
from ....transfer.checkpoint import load_checkpoint_file
from ..families import FAMILIES, Family, Hints
from .clip import OPENAI_CLIP
from .huggingface import HUGGING_FACE, HUGGING_FACE_CLIP
from .layout import Layout, State, rename
from .official import OFFICIAL
from .torchscript import is_torchscript, read_torchscript

#: mmpretrain's names need no renaming.
MMPRETRAIN = Layout('mmpretrain', 'patch_embed.projection.weight', dict)
LAYOUTS = (OFFICIAL, MMPRETRAIN, HUGGING_FACE, HUGGING_FACE_CLIP, OPENAI_CLIP)

#: Entries of checkpoints that hold the weights; of several, the first. A teacher is the average of its student.
_CONTAINERS = ('teacher', 'model', 'state_dict', 'module')
_OTHER_PART = 'another part of the checkpoint'
_MMPRETRAIN_DERIVED = r'.*(relative_position_index|rope\.freqs_(cos|sin)|attn_mask)'


@dataclass(frozen=True)
class Found:
    """What a weight file holds.

    Attributes:
        family: E.g. 'MAE'.
        layout: E.g. 'Hugging Face'.
        prefix: What the backbone's keys begin with in the file.
        backbone: Config of the mmpretrain backbone that holds the weights.
        state: Its weights; those of a decoder begin with 'decoder.'.
        decoder: Arguments of mmpretrain's ``MAEPretrainDecoder``; None without one.
        mean: Mean of the images per channel, RGB, of 0..255.
        std: Their standard deviation.
        keys_read: How many keys of the file went into ``state``.
        dropped: Keys left out, by reason.
        assumed: What the file does not tell and was taken for granted.
    """

    family: str
    layout: str
    prefix: str
    backbone: dict
    state: State
    decoder: dict | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    keys_read: int
    dropped: dict[str, list[str]] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)


def identify_file(path: str | os.PathLike, prefix: str = '', hints: Hints | None = None) -> Found:
    """Recognise the weights in a file; see :func:`identify`.

    A ``config.json`` beside it, as Hugging Face has it, is asked what the weights do not tell.

    Raises:
        WeightsError: The file is damaged, holds more than weights, or is of no known layout and family.
    """
    path = Path(path).expanduser()
    with safe_globals([argparse.Namespace]):  # the options of a run, plain values
        content = read_torchscript(path) if is_torchscript(path) else load_checkpoint_file(path)
    hints = hints or Hints()
    config = _hugging_face_config(path)
    known = Hints(
        family=hints.family,
        num_heads=hints.num_heads or config.get('num_attention_heads'),
        activation=hints.activation or config.get('hidden_act'),
    )
    return identify(content, str(path), prefix, known)


def _hugging_face_config(path: Path) -> dict:
    try:
        config = json.loads(path.with_name('config.json').read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    config = config.get('vision_config', config) if isinstance(config, dict) else {}
    if not isinstance(config.get('num_attention_heads'), int):  # Swin has a list
        config.pop('num_attention_heads', None)
    return config


def identify(content: Mapping, source: str, prefix: str = '', hints: Hints | None = None) -> Found:
    """Recognise layout and family from keys and shapes, and rename the weights.

    Args:
        content: A checkpoint: weights, or a dict with them under 'model', 'state_dict', 'teacher'...
        source: Its name in messages.
        prefix: Consider only keys that begin with this.
        hints: What the weights do not tell.

    Raises:
        WeightsError: No known layout or family, keys that nobody knows, or a choice that is not ours.
    """
    hints = hints or Hints()
    weights = _weights_of(content)
    layout, prefix = _find_layout(weights, source, prefix)
    inside = {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}
    outside = {key: value for key, value in weights.items() if not key.startswith(prefix)}
    if any('cls_pt_layers.' in key for key in weights) and hints.family is None:
        hints = hints._replace(family='BEiT v2')
    if any('masked_embed' in key for key in weights) and hints.family is None:
        hints = hints._replace(family='iBOT')

    if layout is MMPRETRAIN:
        family, state, dropped = _from_mmpretrain(inside, outside, source)
    else:
        family, state, dropped = _from_official(layout, inside, outside, source)
    assumed = []
    is_clip = 'pre_norm.weight' in state
    if is_clip and hints.activation is None:
        hints = hints._replace(activation=layout.activation or 'gelu')
        assumed.append(f'activation {hints.activation}, which the weights do not tell (--activation)')
    description = family.describe(state, hints)
    if description.family == 'BEiT' and hints.family is None:
        assumed.append("BEiT's mean and std of images; those of BEiT v2 are ImageNet's (--family 'BEiT v2')")
    if description.family == 'ViT':
        assumed.append("ImageNet's mean and std of images: MAE's encoder, iBOT and DINO look the same (--family)")
    return Found(
        family=description.family,
        layout=layout.name,
        prefix=prefix,
        backbone=description.backbone,
        state={key: value.detach().float().contiguous() for key, value in state.items()},
        decoder=description.decoder,
        mean=description.statistics[0],
        std=description.statistics[1],
        keys_read=len(weights) - sum(map(len, dropped.values())),
        dropped=dropped,
        assumed=assumed,
    )


def _weights_of(content: Mapping) -> State:
    while name := next((n for n in _CONTAINERS if isinstance(content.get(n), Mapping)), None):
        content = content[name]
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _find_layout(weights: State, source: str, prefix: str) -> tuple[Layout, str]:
    found = []
    for layout in LAYOUTS:
        pattern = re.compile(rf'(.*\.)?{re.escape(layout.patch_embedding)}')
        prefixes = [match[1] or '' for key in weights if key.startswith(prefix) and (match := pattern.fullmatch(key))]
        if layout is OPENAI_CLIP:  # a ResNet has a conv1, too
            prefixes = [p for p in prefixes if f'{p}class_embedding' in weights]
        found += [(layout, p) for p in prefixes]
    if len(found) > 1:  # beside its own copy of a teacher
        found = [(layout, p) for layout, p in found if 'teacher' not in p and 'momentum' not in p] or found
    if not found:
        wanted = '; '.join(f'{one.patch_embedding} ({one.name})' for one in LAYOUTS)
        some_keys = ', '.join(sorted(weights)[:5]) or 'none with a tensor'
        where = f' that begins with prefix={prefix!r}' if prefix else ''
        raise WeightsError(
            f'{source}: these are weights of no teacher known here. Looked for the weight of a patch embedding{where}: '
            f'{wanted}. The file has {len(weights)} keys: {some_keys}...'
        )
    if len(found) > 1:
        places = ', '.join(repr(p) for _, p in found)
        raise WeightsError(f'{source} holds {len(found)} Transformers, under {places}: name one by prefix')
    return found[0]


def _from_mmpretrain(inside: State, outside: State, source: str) -> tuple[Family, State, dict]:
    family = _find(source, [f for f in FAMILIES if f.is_mmpretrain(inside)], inside)
    derived = [key for key in inside if re.fullmatch(_MMPRETRAIN_DERIVED, key)]
    state = {key: value for key, value in inside.items() if key not in derived}
    dropped = {'follows from the size': derived} if derived else {}
    if 'neck.decoder_embed.weight' in outside:
        decoder = {k: v for k, v in outside.items() if k.startswith('neck.') and not k.startswith('neck.decoder_pred')}
        state |= {f'decoder.{key.removeprefix("neck.")}': value for key, value in decoder.items()}
        outside = {key: value for key, value in outside.items() if key not in decoder}
    if outside:
        dropped[_OTHER_PART] = sorted(outside)
    return family, state, dropped


def _from_official(layout: Layout, inside: State, outside: State, source: str) -> tuple[Family, State, dict]:
    # An MAE decoder and BEiT's last norm are beside the backbone in some layouts.
    near = {k: v for k, v in outside.items() if k.startswith(('decoder.', 'layernorm.')) and k not in inside}
    official = layout.to_official(near | inside)
    family = _find(source, [f for f in FAMILIES if f.is_official(official)], official)
    official = family.prepare(official)
    dropped: dict[str, list[str]] = {}
    names = [re.compile(pattern) for pattern, _ in family.names]
    unknown: list[str] = []
    for key in list(official):
        if any(pattern.fullmatch(key) for pattern in names):
            continue
        reason = next((why for pattern, why in family.dropped if re.fullmatch(pattern, key)), None)
        if reason is None and key in near:
            reason = _OTHER_PART
        (unknown if reason is None else dropped.setdefault(reason, [])).append(key)
        del official[key]
    if unknown:
        raise WeightsError(
            f'{source} looks like {family.members} in the layout of {layout.name}, but has {len(unknown)} keys that '
            f'are unknown: {", ".join(sorted(unknown)[:5])}. Its tokens would not be those of the original'
        )
    if rest := sorted(outside.keys() - near.keys()):
        dropped[_OTHER_PART] = dropped.get(_OTHER_PART, []) + rest
    return family, rename(official, family.names), dropped


def _find(source: str, families: list[Family], state: State) -> Family:
    if not families:
        some = ', '.join(sorted(state)[:5])
        known = '; '.join(family.members for family in FAMILIES)
        raise WeightsError(f'{source}: a patch embedding, but the blocks of none of {known}. Its keys: {some}...')
    return families[0]
