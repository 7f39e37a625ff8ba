"""Find result records and put those that may be compared side by side."""

import os
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ..errors import RecordError
from ..latency.record import Latency, Timing, load_latency
from ..statistics.paired import paired_p
from .record import (
    METRICS,
    Dataset,
    Model,
    Pretraining,
    PretrainingRecord,
    Protocol,
    Record,
    load_sealed,
    primary_metric,
)

METHOD_NAMES = {
    'HGKD': 'H-GKD',
    'DenseDistillation': 'dense distillation',
}
SCRATCH = 'from scratch'
SPARK = 'SparK'
#: Variants that are controls: the student imitates an untrained teacher, or the tokens of other images.
RANDOM, SHUFFLED = 'random teacher', 'shuffled targets'

#: What was measured, by fold and seed.
Values = dict[tuple[int, int], float]


@dataclass(frozen=True)
class Run:
    """A record and the file it was read from."""

    path: Path
    record: Record

    @property
    def key(self) -> tuple[int, int]:
        """Fold and seed: what runs of two rows are paired by."""
        fold = self.record.dataset.fold
        return (-1 if fold is None else fold, self.record.seed)


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
            return SCRATCH
        return METHOD_NAMES.get(self.pretraining.method, self.pretraining.method)

    @property
    def variant(self) -> str | None:
        """What is special about the pretraining; None of a method as it is. A control is one whatever it is called."""
        pre = self.pretraining
        if pre is None:
            return None
        if pre.targets_shuffled:
            return SHUFFLED
        return RANDOM if (pre.teacher or '').startswith('random-') else pre.variant

    @property
    def start(self) -> Pretraining | None:
        """How the backbone was pretrained, without the teacher's hash: not every run saw the file."""
        return self.pretraining and self.pretraining.model_copy(update={'teacher_sha256': None})

    def values(self, metric: str) -> Values:
        """Return a metric of every run, in percent."""
        return {run.key: run.record.metrics[metric] for run in self.runs}

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

    @property
    def network(self) -> tuple[str, str, int]:
        """What twins share."""
        return self.model.name, self.model.backbone, self.model.params

    @property
    def pretrained_epochs(self) -> float:
        """Epochs of pretraining; 0 of none, or of a number that is not known."""
        return (self.pretraining.epochs if self.pretraining else None) or 0.0


def nearest_in_epochs(row: Row, others: Iterable[Row]) -> Row | None:
    """Find the row whose pretraining has as many epochs as this one's, or else most nearly as many.

    Of two such the longer, and of as long ones the first; None of no rows.
    """
    return min(
        others,
        key=lambda other: (abs(other.pretrained_epochs - row.pretrained_epochs), -other.pretrained_epochs),
        default=None,
    )


def paired_differences(ours: Values, theirs: Values) -> list[float]:
    """Return ours - theirs of every two values which share fold and seed, in points."""
    return [ours[key] - theirs[key] for key in sorted(ours.keys() & theirs.keys())]


def fold_differences(ours: Values, theirs: Values) -> list[float]:
    """Return the mean of :func:`paired_differences` of each fold: seeds of one fold share its images."""
    folds: dict[int, list[float]] = defaultdict(list)
    for fold, seed in sorted(ours.keys() & theirs.keys()):
        folds[fold].append(ours[fold, seed] - theirs[fold, seed])
    return [statistics.fmean(differences) for differences in folds.values()]


def paired_gain(ours: Values, theirs: Values) -> Gain:
    """Compare two rows run by run; both have a value at least."""
    differences = paired_differences(ours, theirs)
    if not differences:  # nothing in common: the means are all there is
        return Gain(statistics.fmean(ours.values()) - statistics.fmean(theirs.values()), 0, None)
    return Gain(statistics.fmean(differences), len(differences), paired_p(differences))


@dataclass(frozen=True)
class Table:
    """Rows of one task on the same data under the same protocol, best first.

    ``dataset`` is without what differs between folds when there are several.
    """

    task: str
    dataset: Dataset
    protocol: Protocol
    rows: tuple[Row, ...]

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics which get a column: shown ones which some row has."""
        return [
            name
            for name, metric in METRICS[self.task].items()
            if metric.shown and any(name in row.metrics for row in self.rows)
        ]

    @cached_property
    def chance(self) -> float | None:
        """Chance level of the primary metric, if all records agree on it."""
        levels = {run.record.chance for row in self.rows for run in row.runs}
        return levels.pop() if len(levels) == 1 else None

    @cached_property
    def folds(self) -> list[int]:
        """Folds of the data that the rows were measured on."""
        found = {run.record.dataset.fold for row in self.rows for run in row.runs}
        return sorted(fold for fold in found if fold is not None)

    @cached_property
    def _by_start(self) -> dict[tuple, list[Row]]:
        """Rows that are no variants by method and network, best first."""
        found: dict[tuple, list[Row]] = defaultdict(list)
        for row in self.rows:
            if row.variant is None:
                found[row.method, row.network].append(row)
        return found

    def twin(self, row: Row, method: str) -> Row | None:
        """Return the row of the same network that starts by another method (``'from scratch'``, ``'SparK'``).

        Never a variant; of several, the one :func:`nearest_in_epochs`.
        """
        if row.method == method:
            return None
        return nearest_in_epochs(row, self._by_start.get((method, row.network), []))

    def gain(self, row: Row, metric: str, over: str = SCRATCH) -> Gain | None:
        """Compare a row with its twin under this protocol; None when there is none."""
        twin = self.twin(row, over)
        if twin is None or metric not in row.metrics or metric not in twin.metrics:
            return None
        return paired_gain(row.values(metric), twin.values(metric))


@dataclass(frozen=True)
class Found:
    """Everything found below some folders.

    Args:
        runs: Ordered by path.
        problems: What is wrong with the files that were left out.
        pretrainings: Pretraining runs by the SHA-256 of their backbone, with the file each was read from.
        timings: By :attr:`~hgkd_mm.latency.record.Latency.key`.
    """

    runs: list[Run]
    problems: list[str]
    pretrainings: dict[str, tuple[Path, PretrainingRecord]] = field(default_factory=dict)
    timings: dict[tuple, list[Timing]] = field(default_factory=dict)

    def latency(self, row: Row) -> list[Timing]:
        """Return what the row's backbone takes at the protocol's resolution, a device each; empty when unknown."""
        resolution = row.runs[0].record.protocol.resolution
        return self.timings.get((row.model.backbone, row.model.backbone_params, resolution), [])


def find_runs(folders: Iterable[str | os.PathLike]) -> Found:
    """Read every ``result.json``, ``pretraining.json`` and ``latency.json`` below some folders.

    A file that is damaged, was edited by hand, is of another schema version, or has the content of one already read
    is left out and reported.

    Args:
        folders: Searched recursively; a path to a result record itself is taken too.

    Returns:
        What was found, each file once, and the problems.

    Raises:
        RecordError: A folder is missing, or there is no sound result at all.
    """
    places = [Path(folder) for folder in folders]
    for folder in places:
        if not folder.exists():
            raise RecordError(f'{folder}: no such folder; expected one with result.json files below it')
    runs: dict[str, Run] = {}
    pretrainings: dict[str, tuple[Path, PretrainingRecord]] = {}
    latencies: dict[tuple, Latency] = {}
    problems = []
    for path in record_paths(places):
        try:
            if path.name == 'latency.json':
                latency = load_latency(path)
                known = latencies.get(latency.key)
                latencies[latency.key] = known.with_timings(latency.timings) if known else latency
            elif path.name == 'pretraining.json':
                pretraining, _ = load_sealed(path, PretrainingRecord)
                if pretraining.pretraining.backbone_sha256:
                    pretrainings.setdefault(pretraining.pretraining.backbone_sha256, (path, pretraining))
            else:
                record, seal = load_sealed(path, Record)
                # The seal covers the second of writing: equal ones are copies.
                same = runs.setdefault(seal, Run(path, record))
                if same.path != path:
                    problems.append(f'{path}: the same record as {same.path}')
        except RecordError as error:
            problems.append(str(error))
    if not runs:
        listed = f': {"; ".join(problems[:3])}' if problems else ': train or test a model first'
        below = ', '.join(map(str, places))
        raise RecordError(f'no sound result.json below {below}{listed}; a config writes one by hgkd_mm.ResultHook')
    timings = {key: latency.timings for key, latency in latencies.items()}
    return Found(list(runs.values()), problems, pretrainings, timings)


def record_paths(places: Iterable[Path]) -> list[Path]:
    """List the record files below some folders, sound or not, each once, in order."""
    names = {'result.json', 'pretraining.json', 'latency.json'}
    found: dict[str, Path] = {}
    for place in places:
        if place.is_file():
            found.setdefault(os.path.realpath(place), place)
            continue
        for folder, _, files in os.walk(place):
            for name in names.intersection(files):
                path = os.path.join(folder, name)
                found.setdefault(os.path.realpath(path), Path(path))
    return sorted(found.values())


def picture_paths(folder: Path) -> list[Path]:
    """List the pictures of a record, in ``pictures/`` beside it, by name."""
    pictures = folder / 'pictures'
    files = sorted(pictures.iterdir()) if pictures.is_dir() else []
    return [path for path in files if path.suffix.lower() in ('.png', '.jpg', '.jpeg', '.webp')]


def make_tables(runs: Iterable[Run]) -> list[Table]:
    """Group runs by task, data and protocol; aggregate over folds and seeds; rank.

    A run evaluated twice (same fold, seeds and backbone) counts once, with its newest record. Runs on different data
    of the same name and fold, such as more images or other ones of the same generator, are not compared.
    """
    groups: dict[tuple, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.record.created):
        record = run.record
        groups[record.task, record.dataset.model_copy(update=_OF_A_FOLD), record.protocol].append(run)

    tables = []
    for (task, dataset, protocol), group in groups.items():
        for part in _same_data(group):
            rows = _rows(task, part)
            datasets = {run.record.dataset for row in rows for run in row.runs}
            tables.append(Table(task, datasets.pop() if len(datasets) == 1 else dataset, protocol, tuple(rows)))
    order = list(METRICS)
    tables.sort(
        key=lambda t: (order.index(t.task), t.dataset.name, t.protocol.epochs or 0, repr(t.dataset), repr(t.protocol))
    )
    return tables


Starts = dict[tuple[Model, Pretraining | None], dict[tuple, Run]]


def _over_folds(found: Starts) -> Starts:
    """Join the starts of teachers that were trained on a fold's own images: they differ by hash and share no fold."""
    alike: dict[tuple, list[tuple[Model, Pretraining]]] = defaultdict(list)
    for model, pretraining in found:
        if pretraining is not None:
            alike[model, pretraining.model_copy(update={'teacher_sha256': None})].append((model, pretraining))
    joined = dict(found)
    for start, parts in alike.items():
        folds = [{fold for fold, *_ in found[part]} for part in parts]
        if len(parts) > 1 and sum(map(len, folds)) == len(set().union(*folds)):
            joined[start] = {key: run for part in parts for key, run in joined.pop(part).items()}
    return joined


def _rows(task: str, runs: Iterable[Run]) -> list[Row]:
    """Make rows of runs, in the order of their writing, that may be compared; best first."""
    found: Starts = defaultdict(dict)
    for run in runs:
        pretraining, backbone = run.record.pretraining, None
        if pretraining is not None:
            backbone = (pretraining.seed, pretraining.backbone_sha256)
            pretraining = pretraining.model_copy(update=_OF_A_SEED)
        once = (*run.key, backbone)
        found[run.record.model, pretraining][once] = run
    rows = [
        Row(model, pretraining, tuple(sorted(same.values(), key=lambda run: run.key)))
        for (model, pretraining), same in _over_folds(found).items()
    ]
    return sorted(rows, key=lambda row: (-row.mean(primary_metric(task)), row.method, str(row.runs[0].path)))


def _same_data(runs: list[Run]) -> list[list[Run]]:
    """Part runs until a fold is the same data throughout: by the numbers of images, then by the data themselves."""
    parts = [runs]
    for names in (['num_train', 'num_val'], ['num_train', 'num_val', 'sha256']):
        if not all(map(one_data_a_fold, parts)):
            by_data: dict[tuple, list[Run]] = defaultdict(list)
            for run in runs:
                by_data[tuple(getattr(run.record.dataset, name) for name in names)].append(run)
            parts = list(by_data.values())
    return parts


def one_data_a_fold(runs: Iterable[Run]) -> bool:
    """Whether all runs on a fold, as far as they know, are on the same data."""
    known = {(run.record.dataset.fold, run.record.dataset.sha256) for run in runs if run.record.dataset.sha256}
    return len(known) == len({fold for fold, _ in known})


#: What the seeds of a pretraining, and the folds of a data set, do not share.
_OF_A_SEED = {'seed': None, 'backbone_file': None, 'backbone_sha256': None}
_OF_A_FOLD = {'fold': None, 'sha256': None, 'num_train': None, 'num_val': None}
