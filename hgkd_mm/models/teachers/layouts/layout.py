"""What a layout, a way to name the same weights, has to say about itself."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

State = dict[str, Tensor]


class Layout(NamedTuple):
    """One way to name a teacher's weights.

    Attributes:
        name: Its name in messages.
        patch_embedding: The weight by which it is recognised; what comes before it in a file's key is the prefix.
        to_official: Renames a state dict to the names of the official releases and timm. Keys are without the
            prefix where they have it; those of other parts come as they are.
        activation: Activation of CLIP weights in this layout, as far as is known.
    """

    name: str
    patch_embedding: str
    to_official: Callable[[State], State]
    activation: str | None = None


def rename(state: State, names: Iterable[tuple[str, str]]) -> State:
    """Rename keys by the first regular expression that fits as a whole; others keep their name."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in names]
    return {_renamed(key, compiled): value for key, value in state.items()}


def _renamed(key: str, names: Sequence[tuple[re.Pattern, str]]) -> str:
    for pattern, replacement in names:
        if found := pattern.fullmatch(key):
            return found.expand(replacement)
    return key


def join_qkv(state: State) -> State:
    """Join ``*.attn.{query,key,value}.*`` to ``*.attn.qkv.*``; without a bias of keys, to ``q_bias`` and ``v_bias``."""
    state = dict(state)
    for name in [key.removesuffix('query.weight') for key in state if key.endswith('.attn.query.weight')]:
        weights = [state.pop(f'{name}{part}.weight') for part in ('query', 'key', 'value')]
        state[f'{name}qkv.weight'] = torch.cat(weights)
        biases = {part: state.pop(f'{name}{part}.bias', None) for part in ('query', 'key', 'value')}
        found = [bias for bias in biases.values() if bias is not None]
        if len(found) == 3:
            state[f'{name}qkv.bias'] = torch.cat(found)
        elif len(found) == 2 and biases['key'] is None:
            state[f'{name}q_bias'], state[f'{name}v_bias'] = found
    return state
