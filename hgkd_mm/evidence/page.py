"""The generated parts of docs/evidence.md: every comparison of the study as the records have it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..leaderboard.collect import METHOD_NAMES, Row, Table, find_runs, make_tables, paired_differences
from ..leaderboard.compare import over_identities
from ..leaderboard.names import data_name, markdown_table, number, protocol_name, row_name
from ..leaderboard.record import METRICS, primary_metric
from ..leaderboard.reported import Reported, load_reported
from ..utils import insert_block, write_block
from .bootstrap import Interval
from .claims import CLAIMS, Claim
from .cost import render_costs
from .holm import holm
from .paired import paired_interval, paired_p, sign_flip_p

PAPER = 'https://arxiv.org/abs/2309.09571'
#: Configs here that come nearest to the paper's ResNet-50.
FULL_SCALE = (
    'configs/pretraining/hgkd_resnet50_8xb256-amp-coslr-800e_in1k.py',
    'configs/classification/resnet50_8xb256-coslr-300e_in1k.py',
)
OURS = METHOD_NAMES['HGKD']
HEAD = ['Comparison', 'What', 'Ours', 'Theirs', 'Difference', '95 % interval', 'n', 'p', 'p, Holm', 'p, signs']
HEAD += ['Other objects', 'Must / aim']


class Found(NamedTuple):
    """Two rows that a claim is about, and the differences of their pairs of runs."""

    claim: Claim
    table: Table
    ours: Row
    theirs: Row
    differences: list[float]
    identities: Interval | None


def find(tables: Iterable[Table], claims: Sequence[Claim] = CLAIMS) -> list[Found]:
    """Find what the records say about each claim: every H-GKD row with its twin of the same network and protocol."""
    tables = list(tables)
    found = []
    for claim in claims:
        for table in tables:
            for row in table.rows:
                twin = table.twin(row, claim.over) if table.task == claim.task and row.method == OURS else None
                if twin is None or not all(claim.metric in each.metrics for each in (row, twin)):
                    continue
                differences = paired_differences(row, twin, claim.metric)
                if differences:
                    primary = claim.metric == primary_metric(table.task)
                    identities = over_identities(row, twin) if primary else None
                    found.append(Found(claim, table, row, twin, differences, identities))
    return found


def render_comparisons(tables: Iterable[Table], claims: Sequence[Claim] = CLAIMS) -> str:
    """Write a table with a line for every comparison; 'no run yet' where the records have none.

    ``p`` is of the paired t-test over folds and seeds, then adjusted by Holm's method over all lines that have one,
    then that of the exact sign-flip test. The interval is Student's t over the pairs; that of other objects is the
    bootstrap over identities.
    """
    found = find(tables, claims)
    p_values = [paired_p(one.differences) for one in found]
    adjusted = iter(holm([p for p in p_values if p is not None]))
    corrected = [None if p is None else next(adjusted) for p in p_values]
    lines = []
    for claim in claims:
        name = f'{METRICS[claim.task][claim.metric].label}, {OURS} - {claim.over}'
        wanted = f'{claim.must:+g} / {claim.aim:+g}'
        mine = [
            _line(one, name, p, after) + [wanted]
            for one, p, after in zip(found, p_values, corrected, strict=True)
            if one.claim is claim
        ]
        lines += mine or [[name, 'no run yet', *[''] * (len(HEAD) - 3), wanted]]
    return markdown_table(HEAD, lines)


def _line(one: Found, name: str, p: float | None, corrected: float | None) -> list[str]:
    metric, objects = one.claim.metric, one.identities
    interval = paired_interval(one.differences)
    return [
        name,
        f'{data_name(one.table)}, {protocol_name(one.table)}; {row_name(one.ours)}',
        number(one.ours, metric),
        number(one.theirs, metric),
        f'{sum(one.differences) / len(one.differences):+.1f}',
        '' if interval is None else f'{interval[0]:+.1f} to {interval[1]:+.1f}',
        str(len(one.differences)),
        *('' if value is None else f'{value:.2g}' for value in (p, corrected, sign_flip_p(one.differences))),
        '' if objects is None else f'{objects.low:+.1f} to {objects.high:+.1f} ({objects.clusters} identities)',
    ]


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


def render(folders: Iterable[str | os.PathLike]) -> tuple[dict[str, str], list[str]]:
    """Render the generated blocks.

    Args:
        folders: Searched for records.

    Returns:
        Blocks by name, and what is wrong with records that were left out.

    Raises:
        RecordError: There is no sound record, or predictions are not those of theirs.
    """
    found = find_runs(folders)
    blocks = {
        'paper': render_paper(load_reported()),
        'comparisons': render_comparisons(make_tables(found.runs)),
        'cost': render_costs(*FULL_SCALE),
    }
    return blocks, found.problems


def write_page(folders: Iterable[str | os.PathLike], document: str | os.PathLike) -> list[str]:
    """Replace the generated blocks of the page; see :func:`render`.

    Returns:
        What is wrong with records that were left out.

    Raises:
        RecordError: As :func:`render`, or a block's markers are missing; nothing is written then.
    """
    blocks, problems = render(folders)
    for name in blocks:  # before anything is written
        insert_block(Path(document), name, '')
    for name, body in blocks.items():
        write_block(Path(document), name, body)
    return problems
