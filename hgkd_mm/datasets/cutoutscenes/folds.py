"""The split of cut-out identities and backgrounds into five folds."""

import hashlib
from collections.abc import Iterable, Mapping

FOLDS = 5


def assign_folds(groups: Mapping[str, Iterable[str]]) -> dict[str, dict[str, int]]:
    """Deal the members of each group out to the folds, as evenly as possible.

    The order is that of a hash of the names: it looks random, needs no random generator, and is
    the same for every seed, so results of different seeds share their splits.

    Args:
        groups: Group (a class, or the backgrounds) -> names of its members.

    Returns:
        Group -> member -> fold from 0 to 4.
    """
    folds: dict[str, dict[str, int]] = {}
    dealt = 0
    for group, members in sorted(groups.items()):
        order = sorted(set(members), key=lambda name: _key(f'{group}/{name}'))
        # Go on where the last group stopped, so that no fold gets all the odd ones.
        folds[group] = {name: (dealt + i) % FOLDS for i, name in enumerate(order)}
        dealt += len(order)
    return folds


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
