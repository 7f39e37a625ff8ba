"""What the records of a suite say of a start: accuracies after fine-tuning, and probes of the frozen backbone."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..errors import RecordError
from ..leaderboard.collect import Found, Row, Run, Table, Values, find_runs, make_tables
from ..leaderboard.record import METRICS, PretrainingRecord
from .claims import LINEAR, SHARE

#: Columns for probes, which are in the records of pretraining.
PROBES = {LINEAR: 'linear probe %', 'knn_top1': 'kNN %'}
LABELS = {SHARE: "linear probe, % of the teacher's"} | PROBES
LABELS |= {name: metric.label for metrics in METRICS.values() for name, metric in metrics.items()}


class Suite(NamedTuple):
    """The records below one folder."""

    name: str
    tables: list[Table]
    found: Found

    def values(self, row: Row, metric: str) -> Values:
        """Return what was measured of a row; empty when nothing was.

        Args:
            row: Of one of the tables.
            metric: Of its task, or a curve of its pretraining, of which the last point counts; ``'linear_share'`` is
                ``linear_top1`` in percent of the teacher's.
        """
        if metric in METRICS[row.runs[0].record.task]:
            return row.values(metric) if metric in row.metrics else {}
        probed = {}
        for run in row.runs:
            pre = run.record.pretraining
            known = self.found.pretrainings.get(pre.backbone_sha256 or '') if pre else None
            value = _probe(known[1], metric) if known else None
            if value is not None:
                fold, seed = run.key
                probed[fold, seed if pre is None or pre.seed is None else pre.seed] = value
        return probed


def _probe(record: PretrainingRecord, metric: str) -> float | None:
    if metric == SHARE:
        student, teacher = (_probe(record, name) for name in (LINEAR, f'teacher_{LINEAR}'))
        return 100 * student / teacher if student is not None and teacher else None
    curve = record.curves.get(metric)
    return curve[-1][1] if curve else None


def labels(table: Table) -> float:
    """Return what percentage of the labels fine-tuning has, as the data set's name says."""
    share = re.search(r', ([\d.]+) % of the labels$', table.dataset.name)
    return float(share[1]) if share else 100.0


def quantity(metric: str, percent: float) -> str:
    """Name a metric, and the percentage of the labels when it is not all of them."""
    return LABELS[metric] + ('' if percent == 100 else f', {percent:g} % of the labels')


def read_suites(folders: Iterable[str | os.PathLike]) -> tuple[list[Suite], list[str]]:
    """Read records; each folder in ``folders`` has a folder for every suite.

    Returns:
        The suites by name, and what is wrong with records that were left out.

    Raises:
        RecordError: One is no folder, or there is no sound record.
    """
    places = [Path(folder) for folder in folders]
    for folder in places:
        if not folder.is_dir():
            raise RecordError(f'{folder}: no such folder; expected one with a folder of records for every suite')
    found = find_runs(places)
    runs: dict[str, list[Run]] = defaultdict(list)
    for run in found.runs:
        inside = next(run.path.relative_to(folder) for folder in places if run.path.is_relative_to(folder))
        runs[inside.parts[0]].append(run)
    return [Suite(name, make_tables(some), found) for name, some in sorted(runs.items())], found.problems
