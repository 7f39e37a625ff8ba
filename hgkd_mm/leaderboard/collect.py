"""Find result records and put those that may be compared side by side."""

import os
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import RecordError
from .record import (
    METRICS,
    Dataset,
    Model,
    Pretraining,
    Protocol,
    Record,
    load_record,
    primary_metric,
)

METHOD_NAMES = {
    'HGKD': 'H-GKD',
    'DenseDistillation': 'dense distillation',
}


@dataclass(frozen=True)
class Run:
    """A record and the file it was read from."""

    path: Path
    record: Record


@dataclass(frozen=True)
class Row:
    """Runs which differ by nothing but their seeds.

    Args:
        model: Fine-tuned network.
        pretraining: Of the backbone, without what differs between seeds; None = from scratch.
        runs: At least one, by seed.
    """

    model: Model
    pretraining: Pretraining | None
    runs: tuple[Run, ...]

    @property
    def method(self) -> str:
        """Name of the pretraining method as people write it."""
        if self.pretraining is None:
            return 'from scratch'
        return METHOD_NAMES.get(self.pretraining.method, self.pretraining.method)

    def mean(self, metric: str) -> float:
        """Mean of a metric over the runs, in percent."""
        return statistics.fmean(run.record.metrics[metric] for run in self.runs)

    def std(self, metric: str) -> float | None:
        """Standard deviation over the runs (n - 1), or None for a single run."""
        values = [run.record.metrics[metric] for run in self.runs]
        return statistics.stdev(values) if len(values) > 1 else None

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics which every run has, in the order of the task's declaration."""
        declared = METRICS[self.runs[0].record.task]
        return [name for name in declared if all(name in run.record.metrics for run in self.runs)]


@dataclass(frozen=True)
class Table:
    """Rows of one task on the same data under the same protocol, best first."""

    task: str
    dataset: Dataset
    protocol: Protocol
    rows: tuple[Row, ...]

    @property
    def metrics(self) -> list[str]:
        """Metrics which get a column: shown ones which some row has."""
        return [
            name
            for name, metric in METRICS[self.task].items()
            if metric.shown and any(name in row.metrics for row in self.rows)
        ]

    @property
    def chance(self) -> float | None:
        """Chance level of the primary metric, if all records agree on it."""
        levels = {run.record.chance for row in self.rows for run in row.runs}
        return levels.pop() if len(levels) == 1 else None

    def gain(self, row: Row, metric: str) -> float | None:
        """Mean minus that of the same network trained from scratch under this protocol, or None."""
        if row.pretraining is None or metric not in row.metrics:
            return None
        for other in self.rows:
            if other.pretraining is None and other.model == row.model and metric in other.metrics:
                return row.mean(metric) - other.mean(metric)
        return None


def find_runs(folders: Iterable[str | os.PathLike]) -> list[Run]:
    """Read every ``result.json`` below some folders.

    Args:
        folders: Searched recursively; a path to a record itself is taken too.

    Returns:
        Runs ordered by path, each file once.

    Raises:
        RecordError: A folder is missing, a record is malformed, or there is none at all.
    """
    places = [Path(folder) for folder in folders]
    paths: dict[Path, Path] = {}
    for folder in places:
        if not folder.exists():
            raise RecordError(f'{folder}: no such folder; expected one with result.json files below it')
        for path in [folder] if folder.is_file() else sorted(folder.rglob('result.json')):
            paths.setdefault(path.resolve(), path)
    if not paths:
        raise RecordError(
            f'no result.json below {", ".join(map(str, places))}: train or test a model first, '
            'with hgkd_mm.ResultHook in its config'
        )
    return [Run(path, load_record(path)) for path in sorted(paths.values())]


def make_tables(runs: Iterable[Run]) -> list[Table]:
    """Group runs by task, data and protocol; aggregate over seeds; rank.

    A run evaluated twice (same seeds, same backbone) counts once, with its newest record.
    """
    groups: dict[tuple, dict[tuple, dict[tuple, Run]]] = defaultdict(lambda: defaultdict(dict))
    for run in sorted(runs, key=lambda run: run.record.created):
        record = run.record
        pretraining, backbone = record.pretraining, None
        if pretraining is not None:
            backbone = (pretraining.seed, pretraining.backbone_sha256)
            pretraining = pretraining.model_copy(update={'seed': None, 'backbone_sha256': None})
        group = groups[record.task, record.dataset, record.protocol]
        group[record.model, pretraining][record.seed, backbone] = run

    tables = []
    for (task, dataset, protocol), group in groups.items():
        rows = [
            Row(model, pretraining, tuple(sorted(same.values(), key=lambda run: run.record.seed)))
            for (model, pretraining), same in group.items()
        ]
        rows.sort(key=lambda row: (-row.mean(primary_metric(task)), row.method, str(row.runs[0].path)))
        tables.append(Table(task, dataset, protocol, tuple(rows)))
    order = list(METRICS)
    tables.sort(key=lambda t: (order.index(t.task), t.dataset.name, repr(t.dataset), repr(t.protocol)))
    return tables
