"""What a family of teachers has to say about itself."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from ....errors import WeightsError

State = dict[str, Tensor]

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
#: ``(mean, std)`` of the images a teacher was trained on, per channel, RGB, of 0..255.
IMAGENET = IMAGENET_MEAN, IMAGENET_STD
HALF = (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)
#: CLIP's own: 0.48145466, 0.4578275, 0.40821073 and 0.26862954, 0.26130258, 0.27577711.
CLIP = (122.7709383, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.32316305)


class Description(NamedTuple):
    """A network as told from the names and shapes of its weights.

    ``family`` is what people call it, ``backbone`` the config that holds it; ``statistics`` is ``(mean, std)`` of its
    input. ``decoder`` are the arguments of mmpretrain's ``MAEPretrainDecoder``, if the weights have one.
    """

    family: str
    backbone: dict
    statistics: tuple
    decoder: dict | None = None


class Family(NamedTuple):
    """One architecture.

    Attributes:
        name: Its name in messages.
        members: Names people know its weights by.
        names: Regular expressions of official names, and what mmpretrain calls the same.
        dropped: Regular expressions of official names that tokens do not depend on, and why.
        is_official: Says whether a state dict with official names is of this family.
        is_mmpretrain: Says whether one with mmpretrain's names is.
        prepare: Turns official tensors into such that only names are left to change.
        describe: Tells the network from a state dict with mmpretrain's names.
    """

    name: str
    members: str
    names: Sequence[tuple[str, str]]
    dropped: Sequence[tuple[str, str]]
    is_official: Callable[[State], bool]
    is_mmpretrain: Callable[[State], bool]
    prepare: Callable[[State], State]
    describe: Callable[[State, 'Hints'], Description]


class Hints(NamedTuple):
    """What weights alone do not tell, where somebody does.

    ``family`` is a name as in :data:`FAMILY_NAMES`; ``num_heads`` the number of attention heads; ``activation`` that of
    the feed-forward layers, ``'gelu'`` or ``'quick_gelu'``.
    """

    family: str | None = None
    num_heads: int | None = None
    activation: str | None = None


#: Heads of widths where a head is not 64 wide.
_HEADS = {1280: 16, 1408: 16}


def num_heads(width: int, hints: Hints, head_width: int = 64) -> int:
    """Return the number of attention heads, which the shapes of weights do not tell.

    Raises:
        WeightsError: The width is unusual and there is no hint.
    """
    heads = hints.num_heads or _HEADS.get(width) or (width // head_width if width % head_width == 0 else None)
    if heads is None or width % heads:
        raise WeightsError(
            f'tokens are {width} wide, no multiple of {hints.num_heads or head_width}: how many attention heads there '
            'are cannot be told. Convert them by tools/convert_teacher.py --heads N, or give `backbone` in the config'
        )
    return heads


def depth_of(state: State, pattern: str = r'layers\.(\d+)\.') -> int:
    """Return how many blocks there are, numbered as ``pattern`` says.

    Raises:
        WeightsError: There is none.
    """
    numbers = [int(found[1]) for key in state if (found := re.match(pattern, key))]
    if not numbers:
        raise WeightsError(f'no key begins with {pattern}: the blocks are missing')
    return 1 + max(numbers)


def grid_side(count: int, what: str) -> int:
    """Return the side of a square grid of ``count`` entries.

    Raises:
        WeightsError: It is not square.
    """
    side = round(count**0.5)
    if side * side != count:
        raise WeightsError(f'{what} has {count} entries, not a square grid')
    return side
