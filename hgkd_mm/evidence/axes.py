"""Axes of ablation: what one start of a suite differs from plain H-GKD in, when that is one thing."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..leaderboard.collect import Row, Table
from ..leaderboard.names import epochs
from ..leaderboard.record import Pretraining
from .claims import HGKD, PLAIN, Start

#: Rows of one start, under a protocol each.
Arm = list[tuple[Table, Row]]


class Axis(NamedTuple):
    """Something that starts differ in.

    ``fact`` gives its value for a row that was pretrained, None where the record does not say it; lines of a table are
    in its order. ``text`` writes the value for people.
    """

    name: str
    fact: Callable[[Pretraining, Row], Any]
    text: Callable[[Pretraining, Row], str]


def _of_variant(name: str, plain: str = 'as in the config') -> Axis:
    """Return the axis of variants ``'axis:value'``; ``plain`` is what a start without a variant has on it."""
    return Axis(
        name,
        lambda pre, row: pre.variant or '',
        lambda pre, row: pre.variant.partition(':')[2].replace('-', ' ') if pre.variant else plain,
    )


def _images_an_epoch(pre: Pretraining) -> int | None:
    return round(pre.images / pre.epochs) if pre.images and pre.epochs else None


LAYER = Axis('Teacher layer', lambda pre, row: pre.teacher_layer, lambda pre, row: str(pre.teacher_layer))
#: What a record says by itself. Fewer images an epoch are as long a pretraining when as many images went through.
AXES = (
    Axis('Mask ratio', lambda pre, row: pre.mask_ratio, lambda pre, row: f'{100 * (pre.mask_ratio or 0):g} %'),
    Axis('Teacher', lambda pre, row: pre.teacher, lambda pre, row: pre.teacher or ''),
    LAYER,
    Axis('Epochs', lambda pre, row: pre.images or pre.epochs, lambda pre, row: f'{pre.epochs:g}'),
    Axis(
        'Images an epoch',
        lambda pre, row: _images_an_epoch(pre),
        lambda pre, row: f'{_images_an_epoch(pre):,} in {epochs(pre.epochs or 0)}',
    ),
    Axis(
        'Student',
        lambda pre, row: (row.model.backbone_params or 0, row.model.backbone),
        lambda pre, row: row.model.backbone,
    ),
)
#: Axes of variants, by what these have before the colon.
VARIANTS = {
    'schedule': _of_variant('Mask schedule', 'one ratio'),
    'mask-unit': _of_variant('Mask unit', '32 px'),
    'positions': _of_variant('Positions with a loss', 'masked and visible'),
    'targets': _of_variant('Targets', 'tokens of one layer'),
    'loss': _of_variant('Loss', 'smooth L1 and distribution'),
    'convolution': _of_variant('Convolution', 'sparse'),
    'decoder': _of_variant('Decoder'),
    'optimizer': _of_variant('Optimizer', 'AdamW'),
}


def axis_of(row: Row, plain: Row) -> Axis | None:
    """Return the axis on which a row differs from plain H-GKD.

    None when the two differ in several things, in something that is no axis, such as the method, or in nothing that
    records say.
    """
    pre, other = row.pretraining, plain.pretraining
    if pre is None or other is None or _kind(pre) != _kind(other):
        return None
    found: list[Axis | None] = []
    if pre.variant:
        name, colon, _ = pre.variant.partition(':')
        found.append(VARIANTS.get(name, _of_variant(name)) if colon else None)
    for axis in AXES:
        if axis is LAYER and pre.teacher != other.teacher:
            continue  # another network's layers are not these
        ours, theirs = axis.fact(pre, row), axis.fact(other, plain)
        if ours is not None and theirs is not None and ours != theirs:
            found.append(axis)
    return found[0] if len(found) == 1 else None


def _kind(pre: Pretraining) -> tuple[str, bool]:
    return pre.method, bool(pre.targets_shuffled)


def find_plain(arms: Iterable[Arm]) -> Arm | None:
    """Find what the ablations start from: the H-GKD without a variant that most arms differ from in one thing.

    Of several, the one with the config's mask ratio counts, then the one with most runs. None when no arm differs from
    another one in one thing.
    """
    arms = list(arms)

    def around(arm: Arm) -> int:
        return sum(axis_of(other[0][1], arm[0][1]) is not None for other in arms)

    plain = [arm for arm in arms if Start(HGKD).fits(arm[0][1]) and around(arm)]
    return max(plain, key=lambda arm: (around(arm), PLAIN.fits(arm[0][1]), len(arm[0][1].runs)), default=None)
