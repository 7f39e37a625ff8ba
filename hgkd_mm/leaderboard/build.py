"""Build the leaderboard in all its formats."""

import gc
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..utils import atomic_write, insert_block
from .collect import find_runs, make_tables
from .formats.csv import render_csv
from .formats.json import render_json
from .formats.latex import render_latex
from .formats.markdown import render_markdown, render_reported
from .formats.metafile import render_metafile
from .formats.model_index import render_model_index
from .formats.overview import render_overview
from .formats.page import render_page
from .reported import REPORTED, load_reported


class Built(NamedTuple):
    """Files written, and what is wrong with the records that were left out."""

    files: list[Path]
    problems: list[str]


def build(
    folders: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    readme: str | os.PathLike | None = None,
    reported: str | os.PathLike = REPORTED,
) -> Built:
    """Build the leaderboard from the records below some folders, and from nothing else.

    All is rendered before the first file is replaced: after an error the old files are whole.

    Args:
        folders: Searched for ``result.json``, ``pretraining.json`` and ``latency.json``; pictures in ``pictures/``
            beside a record are shown with it.
        out: Folder for ``leaderboard.{md,csv,json,tex}``, ``model-index.yml``, ``metafile.yml`` and ``index.html``.
        readme: Markdown file whose block between the ``<!-- leaderboard -->`` and
            ``<!-- /leaderboard -->`` lines is replaced by one table of all tasks.
        reported: YAML file with numbers of publications.

    Returns:
        Files written and problems found.

    Raises:
        RecordError: No sound record, or a wrong picture, README or file of reported numbers.
    """
    # Ten thousand records are a few million objects which all stay: looking for garbage takes longer than the work.
    gc.disable()
    try:
        return _build(folders, Path(out), readme, reported)
    finally:
        gc.enable()


def _build(
    folders: Iterable[str | os.PathLike], out: Path, readme: str | os.PathLike | None, reported: str | os.PathLike
) -> Built:
    found = find_runs(folders)
    tables = make_tables(found.runs)
    published = load_reported(reported)
    table = render_markdown(tables, found)
    files = {
        out
        / 'leaderboard.md': f'# Leaderboard\n\n{table}\n## Reported elsewhere\n\n{render_reported(published, tables)}',
        out / 'leaderboard.csv': render_csv(tables, found),
        out / 'leaderboard.json': render_json(tables, found, published),
        out / 'leaderboard.tex': render_latex(tables),
        out / 'model-index.yml': render_model_index(tables),
        out / 'metafile.yml': render_metafile(tables),
        out / 'index.html': render_page(tables, found, published, out),
    }
    if readme is not None:
        files[Path(readme)] = insert_block(Path(readme), 'leaderboard', render_overview(tables, found))
    for path, text in files.items():
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding='utf-8', newline='')
    return Built(list(files), found.problems)
