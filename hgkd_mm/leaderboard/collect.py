"""Find result records and put those that may be compared side by side."""

import os
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from scipy import stats

from ..errors import RecordError
from .record import (
    METRICS,
    Dataset,
    Model,
    Pretraining,
    Protocol,
    Record,
    load_sealed,
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


class Gain(NamedTuple):
    """How much better a row is than its twin, in points: mean difference of the runs that share fold and seed.

    ``p`` is of the paired two-sided t-test over these ``pairs``; None with less than two, or when all differences are
    equal. Without pairs ``value`` is the difference of the means.
    """

    value: float
    pairs: int
    p: float | None


@dataclass(frozen=True)
class Row:
    """Runs which differ by nothing but their folds and seeds.

    Args:
        model: Fine-tuned network.
        pretraining: Of the backbone, without what differs between seeds; None = from scratch.
        runs: At least one, by fold and seed.
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
    """Rows of one task on the same data under the same protocol, best first.

    ``dataset`` is without what differs between folds when there are several.
    """

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

    @property
    def folds(self) -> list[int]:
        """Folds of the data that the rows were measured on."""
        found = {run.record.dataset.fold for row in self.rows for run in row.runs}
        return sorted(fold for fold in found if fold is not None)

    def twin(self, row: Row, method: str) -> Row | None:
        """Return the row of the same network that starts by another method (``'from scratch'``, ``'SparK'``)."""
        twins = [other for other in self.rows if other.method == method and _same_network(other.model, row.model)]
        return twins[0] if twins and row.method != method else None

    def gain(self, row: Row, metric: str, over: str = 'from scratch') -> Gain | None:
        """Compare a row with its twin under this protocol; None when there is none."""
        twin = self.twin(row, over)
        if twin is None or metric not in row.metrics or metric not in twin.metrics:
            return None
        ours, theirs = ({_key(run): run.record.metrics[metric] for run in one.runs} for one in (row, twin))
        pairs = [(ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys())]
        if not pairs:  # nothing in common: the means are all there is
            return Gain(row.mean(metric) - twin.mean(metric), 0, None)
        p = None
        if len({one - other for one, other in pairs}) > 1:
            p = float(stats.ttest_rel(*zip(*pairs, strict=True)).pvalue)
        return Gain(statistics.fmean(one - other for one, other in pairs), len(pairs), p)


def _same_network(one: Model, other: Model) -> bool:
    return (one.name, one.backbone, one.params) == (other.name, other.backbone, other.params)


def _key(run: Run) -> tuple[int, int]:
    fold = run.record.dataset.fold
    return (-1 if fold is None else fold, run.record.seed)


class Found(NamedTuple):
    """Runs ordered by path, and what is wrong with the records that were left out."""

    runs: list[Run]
    problems: list[str]


def find_runs(folders: Iterable[str | os.PathLike]) -> Found:
    """Read every ``result.json`` below some folders.

    A record that is damaged, was edited by hand, is of another schema version, or has the content of one already read
    is left out and reported.

    Args:
        folders: Searched recursively; a path to a record itself is taken too.

    Returns:
        The runs, each file once, and the problems.

    Raises:
        RecordError: A folder is missing, or there is no sound record at all.
    """
    places = [Path(folder) for folder in folders]
    paths: dict[Path, Path] = {}
    for folder in places:
        if not folder.exists():
            raise RecordError(f'{folder}: no such folder; expected one with result.json files below it')
        for path in [folder] if folder.is_file() else sorted(folder.rglob('result.json')):
            paths.setdefault(path.resolve(), path)
    runs: dict[str, Run] = {}
    problems = []
    for path in sorted(paths.values()):
        try:
            record, seal = load_sealed(path, Record)
        except RecordError as error:
            problems.append(str(error))
            continue
        # The seal covers the second of writing: equal ones are copies.
        same = runs.setdefault(seal, Run(path, record))
        if same.path != path:
            problems.append(f'{path}: the same record as {same.path}')
    if not runs:
        listed = f': {"; ".join(problems[:3])}' if problems else ': train or test a model first'
        below = ', '.join(map(str, places))
        raise RecordError(f'no sound result.json below {below}{listed}; a config writes one by hgkd_mm.ResultHook')
    return Found(list(runs.values()), problems)


def make_tables(runs: Iterable[Run]) -> list[Table]:
    """Group runs by task, data and protocol; aggregate over folds and seeds; rank.

    A run evaluated twice (same fold, seeds and backbone) counts once, with its newest record.
    """
    groups: dict[tuple, dict[tuple, dict[tuple, Run]]] = defaultdict(lambda: defaultdict(dict))
    for run in sorted(runs, key=lambda run: run.record.created):
        record = run.record
        pretraining, backbone = record.pretraining, None
        if pretraining is not None:
            backbone = (pretraining.seed, pretraining.backbone_sha256)
            pretraining = pretraining.model_copy(update=_OF_A_SEED)
        group = groups[record.task, record.dataset.model_copy(update=_OF_A_FOLD), record.protocol]
        once = (*_key(run), record.dataset.sha256, backbone)
        group[record.model, pretraining][once] = run

    tables = []
    for (task, dataset, protocol), group in groups.items():
        rows = [
            Row(model, pretraining, tuple(sorted(same.values(), key=_key)))
            for (model, pretraining), same in group.items()
        ]
        rows.sort(key=lambda row: (-row.mean(primary_metric(task)), row.method, str(row.runs[0].path)))
        datasets = {run.record.dataset for row in rows for run in row.runs}
        tables.append(Table(task, datasets.pop() if len(datasets) == 1 else dataset, protocol, tuple(rows)))
    order = list(METRICS)
    tables.sort(key=lambda t: (order.index(t.task), t.dataset.name, repr(t.dataset), repr(t.protocol)))
    return tables


#: What the seeds of a pretraining, and the folds of a data set, do not share.
_OF_A_SEED = {'seed': None, 'backbone_file': None, 'backbone_sha256': None}
_OF_A_FOLD = {'fold': None, 'sha256': None, 'num_train': None, 'num_val': None}
