"""Loading of weights which either fits completely or fails, and says what the file holds instead."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from ..errors import WeightsError


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
        f'{len(found)} {name}: {first_of(found)}'
        for name, found in (
            ('missing', missing),
            ('unexpected', unexpected),
            ('mis-shaped', shapes),
        )
        if found
    ]
    if problems:
        hint = _hint(weights, own, unexpected)
        raise WeightsError(
            f'{source} does not fit {type(module).__name__} ({len(own)} tensors): '
            f'{"; ".join(problems)}. '
            'Use weights of the same architecture, depth and width, or change the config '
            f'to theirs{"; " + hint if hint else ""}'
        )
    module.load_state_dict(weights, strict=False)
    return len(weights)


def first_of(keys: Iterable[str], count: int = 3) -> str:
    """Join the first names of many."""
    keys = list(keys)
    return ', '.join(keys[:count]) + (', ...' if len(keys) > count else '')


def _hint(weights: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], unexpected: list[str]) -> str:
    """Say what the file seems to be; empty when that is not known."""
    if any(key.startswith('backbone.') for key in unexpected):
        return 'the file is a whole model: export its backbone with tools/export_backbone.py'
    if any(key.split('.')[-1] in ('cls_token', 'pos_embed') or '.attn.' in key for key in unexpected):
        return "the file holds a Vision Transformer, such as a teacher: give the student's backbone.pth"
    firsts = {key.partition('.')[0] for key in weights}
    if len(firsts) == 1 and {key.partition('.')[2] for key in weights} >= {k for k in own if 'num_batches' not in k}:
        prefix = f'{firsts.pop()}.'
        return f'every key begins with {prefix!r}, the rest would fit: give prefix={prefix!r}'
    heads = {key.partition('.')[0] for key in unexpected} & {'fc', 'classifier', 'head'}
    if heads and all(key.partition('.')[0] in heads for key in unexpected):
        names = [f'{head}.' for head in sorted(heads)]
        return f"these are a classifier's; to leave them out: ignore={names}"
    return ''
