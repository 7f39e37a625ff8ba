"""What a classifier said about every image: ``predictions.csv`` beside a run's ``result.json``."""

import csv
import os
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from ..errors import RecordError
from ..utils import atomic_write
from .bootstrap import Interval, cluster_bootstrap


class Prediction(NamedTuple):
    """One image: its name, who is on it (itself, when nobody knows), the true class and the predicted one."""

    image: str
    identity: str
    label: int
    predicted: int

    @property
    def correct(self) -> bool:
        """Whether the prediction is the true class."""
        return self.label == self.predicted


def write_predictions(path: str | os.PathLike, predictions: Iterable[Prediction]) -> None:
    """Write predictions in the order of the images' names; the file appears whole or not at all."""
    with atomic_write(path) as temporary, open(temporary, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(Prediction._fields)
        writer.writerows(sorted(predictions))


def read_predictions(path: str | os.PathLike) -> list[Prediction]:
    """Read and check predictions.

    Raises:
        RecordError: The file is missing, empty, has other columns, a class that is no number, or an image twice; names
            file and line.
    """
    try:
        with open(path, encoding='utf-8', newline='') as file:
            lines = list(csv.reader(file))
    except OSError as error:
        raise RecordError(f'{path}: cannot be read: {error.strerror}') from None
    except (ValueError, csv.Error) as error:
        raise RecordError(f'{path}: damaged: not CSV: {error}') from None
    if not lines or tuple(lines[0]) != Prediction._fields:
        raise RecordError(f'{path}: begins with {lines[:1]}, expected the columns {",".join(Prediction._fields)}')
    found: dict[str, Prediction] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            image, identity, label, predicted = line
            prediction = Prediction(image, identity, _class(label), _class(predicted))
        except ValueError:
            raise RecordError(f'{path}: line {number} is {line}, expected two names and two class numbers') from None
        if image in found:
            raise RecordError(f'{path}: line {number} has {image}, which is there already')
        found[image] = prediction
    if not found:
        raise RecordError(f'{path}: has no image')
    return list(found.values())


def _class(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def difference_over_identities(
    pairs: Sequence[tuple[Sequence[Prediction], Sequence[Prediction]]], level: float = 0.95
) -> Interval:
    """Bound how much more accurate A is than B on objects like those of the evaluated images.

    The bootstrap draws the photographed objects anew, so the interval holds for other objects and the same trained
    networks; how much the networks differ between seeds is not in it. Images that several pairs have (seeds of one
    fold) are averaged first.

    Args:
        pairs: The predictions of A and of B on the same images, for each fold and seed.
        level: How often such intervals hold the true difference, in ``(0, 1)``.

    Returns:
        A - B in points.

    Raises:
        RecordError: A pair is not of the same images, or all images are of one identity.
    """
    differences: dict[tuple[str, str], list[int]] = {}
    for number, (ours, theirs) in enumerate(pairs):
        others = {one.image: one for one in theirs}
        if {one[:3] for one in ours} != {one[:3] for one in theirs}:
            raise RecordError(f'pair {number} of predictions is not of the same images, identities and labels')
        for one in ours:
            difference = int(one.correct) - int(others[one.image].correct)
            differences.setdefault((one.identity, one.image), []).append(difference)
    try:
        return cluster_bootstrap(
            [100 * fmean(each) for each in differences.values()], [identity for identity, _ in differences], level
        )
    except ValueError as error:
        raise RecordError(f'predictions: {error}') from None
