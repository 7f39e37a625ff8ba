"""The generated parts of docs/evidence.md."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..leaderboard.names import markdown_table, row_names
from ..leaderboard.record import PretrainingRecord
from ..leaderboard.reported import Reported, load_reported
from ..utils import insert_block, write_block
from ..visualization.curves import draw_learning_curves, draw_pretraining_curves
from ..visualization.forest import draw_forest
from .ablations import render_ablations
from .comparisons import find, forest, judged, render_answers, render_comparisons
from .convergence import pretrained, render_convergence, render_pretraining
from .cost import render_costs
from .diagnostics import diagnosed, render_diagnostics
from .measured import Suite, read_suites
from .students import render_students

PAPER = 'https://arxiv.org/abs/2309.09571'
#: Configs here that come nearest to the paper's ResNet-50, the teacher of the first, and a measurement of its steps.
FULL_SCALE = (
    'configs/pretraining/hgkd_resnet50_8xb256-amp-coslr-800e_in1k.py',
    'configs/classification/resnet50_8xb256-coslr-300e_in1k.py',
    ('base', 16),
    'docs/speed/step.json',
)
#: Beside the document.
CLAIMS, CURVES, PRETRAINING_CURVES = (
    f'images/{name}.svg' for name in ('claims', 'learning-curves', 'pretraining-curves')
)


def render_paper(published: Iterable[Reported], source: str = PAPER) -> str:
    """Write a table of what the paper reports.

    Args:
        published: All reported numbers.
        source: Address of the paper.
    """
    lines = [
        [one.student, one.method, f'{value:g} {name}', f'{one.source}, {one.place}']
        for one in published
        if one.source == source
        for name, value in one.labelled()
    ]
    return markdown_table(['Student', 'Start', 'Result', 'Where'], lines)


def render(suites: Sequence[Suite]) -> dict[str, str]:
    """Render the generated blocks, by name.

    Raises:
        RecordError: Predictions are not those of their record.
    """
    found = find(judged(suites))
    return {
        'answers': render_answers(found),
        'paper': render_paper(load_reported()),
        'comparisons': render_comparisons(found),
        'students': render_students(suites),
        'ablations': _each(suites, render_ablations),
        'convergence': _each(suites, render_convergence),
        'pretraining': _each(filter(pretrained, suites), render_pretraining),
        'diagnostics': _each(filter(diagnosed, suites), render_diagnostics),
        'cost': render_costs(*FULL_SCALE),
    }


def _each(suites: Iterable[Suite], render_one: Callable[[Suite], str]) -> str:
    """Render a folding part for every suite, those that the claims are shown with unfolded."""
    suites = list(suites)
    unfolded = {suite.name for suite in judged(suites)}
    return '\n'.join(
        f'<details{" open" * (suite.name in unfolded)}>\n<summary><code>{suite.name}</code></summary>\n\n'
        f'{render_one(suite)}\n</details>\n'
        for suite in suites
    )


def _starts(suites: Sequence[Suite]) -> dict[str, list[PretrainingRecord]]:
    """Return the records of pretraining of every start, by a name that no other one has."""
    found = {}
    for suite in suites:
        starts = pretrained(suite)
        for name, (_, records) in zip(row_names([row for row, _ in starts], short=True), starts, strict=True):
            found[name + f' ({suite.name})' * (len(suites) > 1)] = records
    return found


def write_page(folders: Iterable[str | os.PathLike], document: str | os.PathLike) -> list[str]:
    """Replace the generated blocks of the page, and draw the claims and the curves of trainings beside it.

    Args:
        folders: Each has a folder of records for every suite.
        document: Markdown file with the blocks' markers.

    Returns:
        What is wrong with records that were left out.

    Raises:
        RecordError: There is no sound record, predictions are not those of theirs, or a block's markers are missing;
            nothing is written then.
    """
    document = Path(document)
    suites, problems = read_suites(folders)
    blocks = render(suites)
    for name in blocks:  # before anything is written
        insert_block(document, name, '')
    for name, body in blocks.items():
        write_block(document, name, body)
    shown = judged(suites)
    draw_forest(forest(find(shown)), document.parent / CLAIMS)
    draw_learning_curves([table for suite in shown for table in suite.tables], document.parent / CURVES)
    draw_pretraining_curves(_starts(shown), document.parent / PRETRAINING_CURVES)
    return problems
