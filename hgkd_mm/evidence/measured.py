"""What the records of a suite say of a start: accuracies after fine-tuning, and probes of the frozen backbone."""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..errors import RecordError
from ..leaderboard.collect import Found, Row, Run, Table, Values, find_runs, make_tables
from ..leaderboard.names import percent_text, without_percent
from ..leaderboard.record import METRICS, Model, Pretraining, PretrainingRecord
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
            pretrained = self.pretrained(run)
            value = last_point(pretrained, metric) if pretrained else None
            if value is not None:
                probed[_frozen_key(run)] = value
        return probed

    def pretrained(self, run: Run) -> PretrainingRecord | None:
        """Return the record of a run's pretraining; None when it has none, or that is not there."""
        pre = run.record.pretraining
        known = self.found.pretrainings.get(pre.backbone_sha256 or '') if pre else None
        return known[1] if known else None

    def frozen(self) -> list[Table]:
        """Put the runs of all protocols together, for what is known of a backbone before it is fine-tuned.

        Returns:
            A table for each data set, with a row for each way to pretrain a backbone and one run for each fold and
            seed. Task, protocol and the share of the labels are those of the data set's first table.
        """
        found: dict[tuple, dict[tuple[Model, Pretraining], dict[tuple, Run]]] = defaultdict(lambda: defaultdict(dict))
        first: dict[tuple, Table] = {}
        for table in self.tables:
            data = without_percent(table), table.dataset.version
            first.setdefault(data, table)
            for row in table.rows:
                pretraining = row.start
                if pretraining is None:
                    continue
                # not by parameters, of which a backbone has more where a task reads several stages through norms
                model = Model(name='frozen', backbone=row.model.backbone, params=0)
                for run in row.runs:
                    found[data][model, pretraining].setdefault(_frozen_key(run), run)
        return [
            replace(
                first[data],
                rows=tuple(
                    Row(model, pretraining, tuple(run for _, run in sorted(runs.items())))
                    for (model, pretraining), runs in rows.items()
                ),
            )
            for data, rows in found.items()
        ]


def _frozen_key(run: Run) -> tuple[int, int]:
    """Fold and seed of a run's pretraining."""
    pre, (fold, seed) = run.record.pretraining, run.key
    return fold, seed if pre is None or pre.seed is None else pre.seed


def last_point(record: PretrainingRecord, metric: str) -> float | None:
    """Return the last point of a curve, or the share that :meth:`Suite.values` names; None when it is not known."""
    if metric == SHARE:
        student, teacher = (last_point(record, name) for name in (LINEAR, f'teacher_{LINEAR}'))
        return 100 * student / teacher if student is not None and teacher else None
    curve = record.curves.get(metric)
    return curve[-1][1] if curve else None


def quantity(metric: str, percent: float) -> str:
    """Name a metric, and the percentage of the labels when it is not all of them."""
    return ', '.join(filter(None, [LABELS[metric], percent_text(percent)]))


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
