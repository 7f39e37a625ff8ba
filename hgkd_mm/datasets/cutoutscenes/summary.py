"""The numbers of a finished data set, as the table of docs/cutoutscenes.md."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hgkd_mm.errors import DataError

from .catalogue import Picture, load_catalogue
from .prepare import SCHEMA


def summary_table(folder: str | Path, pictures: Sequence[Picture] | None = None) -> str:
    """Describe a data set made from the catalogue, in Markdown.

    Args:
        folder: The data set.
        pictures: Its source pictures; default: those of the catalogue.

    Returns:
        A sentence and a table, one row a class.

    Raises:
        DataError: The folder holds no CutoutScenes data set.
    """
    pictures = pictures or load_catalogue()[1]
    manifest = _manifest(Path(folder))
    splits = manifest['splits']
    train, val = splits['train'], splits['val']
    cutouts = Counter(picture.role for picture in pictures)
    identities = {name: len({p.identity for p in pictures if p.role == name}) for name in manifest['classes']}
    rows = [
        (
            name,
            cutouts[name],
            identities[name],
            *(split[key][name] for key in ('identities', 'main_objects', 'objects') for split in (train, val)),
        )
        for name in manifest['classes']
    ]
    totals = ('**all**', *(sum(column) for column in list(zip(*rows, strict=True))[1:]))
    return '\n'.join(
        [
            f'Fold {manifest["fold"]}, {manifest["size"]} px. Pictures: {train["images"]} train, {val["images"]} val, '
            f'{splits["unlabeled"]["images"]} unlabelled. Backgrounds: {train["backgrounds"] + val["backgrounds"]}, '
            f'of which {train["backgrounds"]} / {val["backgrounds"]}.',
            '',
            '| class | cut-outs | identities | identities, train / val | pictures | objects |',
            '|---|---|---|---|---|---|',
            *('| {} | {} | {} | {} / {} | {} / {} | {} / {} |'.format(*row) for row in (*rows, totals)),
        ]
    )


def _manifest(folder: Path) -> dict:
    path = folder / 'manifest.json'
    try:
        manifest = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: no manifest of a CutoutScenes data set ({error})') from None
    if not isinstance(manifest, dict) or manifest.get('name') != 'CutoutScenes':
        raise DataError(f'{path}: not the manifest of a CutoutScenes data set')
    if manifest.get('schema') != SCHEMA:
        raise DataError(
            f'{path}: a manifest of schema {manifest.get("schema")}, expected {SCHEMA}: make the data set anew with '
            'tools/prepare_data.py cutoutscenes --force'
        )
    return manifest
