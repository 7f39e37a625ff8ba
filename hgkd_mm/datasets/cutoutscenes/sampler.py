"""Which objects and which background go into which scene."""

from collections.abc import Callable, Sequence

from PIL import Image

from .cutouts import Cutout
from .dice import Dice
from .material import Material
from .scenes import COUNTS, Scene, compose

SPLITS = ('train', 'val', 'unlabeled')
UNLABELED_AREA = (0.06, 0.5)
UNLABELED_COUNTS = (0, 1, 1, 2, 2, 3, 3, 4)
_ORDER = 1 << 20  # index of the streams that shuffle identities, beyond that of any scene


class Sampler:
    """Makes the scenes of one split of one fold.

    A scene depends on the seed, the fold, the split and its index, on nothing else.

    Args:
        material: Cut-outs and backgrounds.
        split: ``'train'``, ``'val'`` or ``'unlabeled'``.
        fold: Fold 0 to 4 that is validated on: its identities and backgrounds are seen in ``val``
            only, all others in ``train`` and ``unlabeled`` only.
        seed: Seed >= 0.
        size: Side of the scenes in pixels.
    """

    def __init__(self, material: Material, split: str, fold: int, seed: int, size: int) -> None:
        self.material, self.split, self.size = material, split, size
        self._key = (seed, fold, SPLITS.index(split))
        self._mine: Callable[[int], bool] = (
            fold.__eq__ if split == 'val' else fold.__ne__  # the side of the split
        )
        self.classes = list(material.classes)
        if split == 'unlabeled':
            self.categories = [*self.classes, *sorted(set(material.cutouts) - set(self.classes))]
        else:
            self.categories = self.classes
        self.identities = {category: self._side(category) for category in self.categories}
        self.backgrounds = self._side('background')

    def _side(self, group: str) -> list[str]:
        """Give the members of a group which this split may use."""
        # Without a place in `val`, the other categories are on the training side as a whole.
        free = self.split == 'unlabeled' and group not in (*self.classes, 'background')
        folds = self.material.folds[group]
        return sorted(name for name, fold in folds.items() if free or self._mine(fold))

    def background(self, index: int) -> str:
        """Give the name of a scene's background: each is used equally often."""
        return self._turn(self.backgrounds, index, 0)

    def main(self, index: int) -> tuple[str, str]:
        """Give category and identity of a scene's main object.

        Labelled scenes go through the classes in turn and, within a class, through its identities;
        unlabelled ones through all identities.
        """
        if self.split == 'unlabeled':
            pairs = [(c, name) for c in self.categories for name in self.identities[c]]
            return self._turn(pairs, index, 1)
        which = index % len(self.classes)
        category = self.classes[which]
        turn = index // len(self.classes)
        return category, self._turn(self.identities[category], turn, 1 + which)

    def _turn(self, items: Sequence, turn: int, stream: int):
        """Give the item whose turn it is; each round through the items has an order of its own."""
        round_, place = divmod(turn, len(items))
        return Dice(*self._key, _ORDER + stream, round_).shuffle(items)[place]

    def scene(self, index: int) -> Scene:
        """Compose a scene."""
        dice = Dice(*self._key, index)
        category, identity = self.main(index)
        main = dice.pick(self.material.cutouts[category][identity])
        unlabeled = self.split == 'unlabeled'
        others = [
            self._any_cutout(dice, avoid=identity) for _ in range(dice.pick(UNLABELED_COUNTS if unlabeled else COUNTS))
        ]
        photograph: Image.Image = dice.pick(self.material.backgrounds[self.background(index)])
        area = (UNLABELED_AREA,) if unlabeled else ()
        return compose(dice, photograph, main, others, self.size, *area)

    def _any_cutout(self, dice: Dice, avoid: str) -> Cutout:
        """Draw a category, an identity of it and a cut-out of that; not the main object again."""
        while True:
            category = dice.pick(self.categories)
            identity = dice.pick(self.identities[category])
            if identity != avoid:
                return dice.pick(self.material.cutouts[category][identity])
