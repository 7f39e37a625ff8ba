"""Gathers what a classifier says about every image of an evaluation, for ``predictions.csv``."""

import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from mmengine.dist import all_gather_object, is_main_process

from ..errors import DataError
from ..statistics.predictions import Prediction, write_predictions

FILE = 'predictions.csv'


class PredictionCollector:
    """Takes the outputs of a classification evaluation, batch by batch, in every process."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int, int]] = []  # image file, true class, predicted class

    def add(self, outputs: Any) -> None:
        """Take a batch of data samples; what is not of one true and one predicted class is passed over."""
        for sample in outputs if isinstance(outputs, Sequence) else ():
            path, label, predicted = (getattr(sample, name, None) for name in ('img_path', 'gt_label', 'pred_label'))
            if path is not None and label is not None and predicted is not None and label.numel() == 1:
                self.said.append((str(path), int(label), int(predicted)))

    def write(self, path: str | os.PathLike, data_root: str | os.PathLike | None) -> None:
        """Bring together what all processes have and write it, if there is anything.

        Args:
            path: File to write.
            data_root: Folder that images are named from; None for the one they share. With ``instances_<split>.json``
                of CutoutScenes in it, an image's identity is that of its main object, ``category/name``; otherwise
                every image is an identity of its own.

        Raises:
            DataError: That file is not what it should be.
        """
        said = {file: labels for part in all_gather_object(self.said) for file, *labels in part}
        if not said or not is_main_process():
            return
        root = Path(data_root or os.path.commonpath([os.path.dirname(file) for file in said]))
        known: dict[str, dict[str, str]] = {}
        predictions = []
        for file, labels in said.items():
            image = PurePath(os.path.relpath(file, root))
            identity = image.as_posix()
            if len(image.parts) == 4 and image.parts[0] == 'classification':
                _, split, category, name = image.parts
                if split not in known:
                    known[split] = main_identities(root / f'instances_{split}.json')
                if name in known[split]:  # unique within its category only
                    identity = f'{category}/{known[split][name]}'
            predictions.append(Prediction(image.as_posix(), identity, *labels))
        write_predictions(path, predictions)


def main_identities(path: Path) -> dict[str, str]:
    """Read which photographed object is the main one of each scene: its first annotation.

    Args:
        path: CutoutScenes' ``instances_<split>.json``.

    Returns:
        Identity by file name; empty when there is no such file or it names no identities.

    Raises:
        DataError: It is not a COCO file.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        names = {image['id']: image['file_name'] for image in content['images']}
        found: dict[str, str] = {}
        for thing in content['annotations']:
            if 'identity' in thing:
                found.setdefault(names[thing['image_id']], str(thing['identity']))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path}: not COCO annotations: {error!r}; expected images and annotations') from None
    return found
