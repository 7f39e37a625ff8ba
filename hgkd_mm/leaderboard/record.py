"""The records: what one evaluation measured and under which protocol, and what one pretraining run did.

An evaluation writes ``result.json``, a pretraining run ``pretraining.json``. The leaderboard is built from these files
and nothing else, so a record carries everything that a fair comparison needs, and a seal, ``content_sha256``, over all
of it: a record that was edited by hand is refused.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import RecordError
from ..utils import atomic_write, sha256_json

#: Version of the schema: another one is refused, for its fields mean something else.
SCHEMA_VERSION: Literal[2] = 2

Task = Literal['classification', 'detection', 'segmentation']
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r'^[0-9a-f]{64}$')]
Percent = Annotated[float, Field(ge=0, le=100)]


class Metric(NamedTuple):
    """How a metric is shown. All metrics are percentages, higher is better."""

    label: str
    shown: bool  # has a column in the tables


METRICS: dict[str, dict[str, Metric]] = {
    # The first of each task is its primary metric: rows are ranked by it.
    'classification': {'top1': Metric('top-1 %', True), 'top5': Metric('top-5 %', False)},
    'detection': {
        'box_AP': Metric('box AP %', True),
        'mask_AP': Metric('mask AP %', True),
        'box_AP50': Metric('box AP50 %', False),
        'box_AP75': Metric('box AP75 %', False),
        'mask_AP50': Metric('mask AP50 %', False),
        'mask_AP75': Metric('mask AP75 %', False),
    },
    'segmentation': {
        'mIoU': Metric('mIoU %', True),
        'mAcc': Metric('mean class accuracy %', False),
        'aAcc': Metric('pixel accuracy %', False),
    },
}


def primary_metric(task: str) -> str:
    """Return the name of the metric which ranks the rows of a task."""
    return next(iter(METRICS[task]))


class _Part(BaseModel):
    model_config = ConfigDict(extra='forbid', allow_inf_nan=False, strict=True, frozen=True)


class Dataset(_Part):
    """What was trained and evaluated on. ``sha256`` is over the data set's manifest of contents."""

    name: str
    version: str | None = None
    fold: Count | None = None
    sha256: Sha256 | None = None
    num_train: Count | None = None
    num_val: Count | None = None


class Protocol(_Part):
    """How the network was trained and evaluated; rows are compared only when this is equal.

    ``resolution`` is in pixels (a side, or a range like ``'640-800'``), ``batch_size`` is over all
    devices. ``sha256`` is over everything else of the config that takes part, see
    :func:`~hgkd_mm.leaderboard.facts.protocol_sha256`.
    """

    epochs: Annotated[float, Field(gt=0)]
    batch_size: Annotated[int, Field(gt=0)]
    resolution: Annotated[int, Field(gt=0)] | str
    recipe: str
    iterations: Count | None = None
    optimizer: str | None = None
    lr: Annotated[float, Field(gt=0)] | None = None
    schedule: str | None = None
    augmentation: str | None = None
    precision: str | None = None
    sha256: Sha256 | None = None


class Budget(_Part):
    """Images that went through the network in fine-tuning: epochs times the size of the training set."""

    finetuning_images: Count | None = None


class Pretraining(_Part):
    """Where the backbone's first weights came from. A record without it is "from scratch".

    ``variant`` says in a few words what is special about the run, such as ``'half of the images unmasked'``;
    ``targets_shuffled`` that the student imitated the tokens of other images, see :class:`hgkd_mm.hooks.TeacherHook`.
    ``images`` is how many went through the student, each counted as often as it was seen; ``recipe_sha256`` is over the
    pretraining's config without places and seeds; ``backbone_file`` is relative to the record's folder.
    """

    method: str
    variant: str | None = None
    teacher: str | None = None
    teacher_sha256: Sha256 | None = None
    teacher_layer: Count | None = None
    targets_shuffled: bool | None = None
    epochs: Annotated[float, Field(ge=0)] | None = None
    mask_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    images: Count | None = None
    seed: int | None = None
    recipe_sha256: Sha256 | None = None
    backbone_file: str | None = None
    backbone_sha256: Sha256 | None = None


class Model(_Part):
    """The evaluated network.

    ``params`` counts all its parameters; ``backbone_gmacs`` is a forward pass of its backbone on one image of the
    protocol's resolution, in 1e9 multiply-accumulates; ``sha256`` is over the network's config.
    """

    name: str
    backbone: str
    params: Count
    backbone_params: Count | None = None
    backbone_gmacs: Annotated[float, Field(gt=0)] | None = None
    sha256: Sha256 | None = None


class CurvePoint(_Part):
    """Validation metrics after ``epoch`` epochs of training, and the mean training loss since the point before."""

    epoch: Annotated[float, Field(ge=0)]
    metrics: dict[str, Percent]
    loss: float | None = None


class File(_Part):
    """A file that the record is about; ``file`` is relative to the record's folder."""

    file: str
    sha256: Sha256


class Cost(_Part):
    """Training and validation time, in seconds, and the device it is for.

    ``images_per_s`` is the fine-tuning's images over that time, ``peak_memory_mib`` the most that the device (on a
    CPU: the process) held at a time.
    """

    wall_time_s: Annotated[float, Field(ge=0)]
    images_per_s: Annotated[float, Field(ge=0)] | None = None
    peak_memory_mib: Annotated[float, Field(ge=0)] | None = None
    device: str
    threads: Annotated[int, Field(ge=1)]


class Code(_Part):
    """Version of hgkd_mm and, in a checkout, its git commit and whether files differed from it."""

    version: str
    commit: str | None = None
    modified: bool | None = None


class Record(_Part):
    """One evaluation. Metrics are those of the last epoch, never of the best one.

    ``config_file``, relative to the record's folder, and ``checkpoint``, the evaluated weights, are what the evaluation
    is repeated from; ``predictions`` is what a classifier said about every image, see
    :mod:`hgkd_mm.statistics.predictions`.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    task: Task
    dataset: Dataset
    unit: Literal['percent'] = 'percent'
    metrics: dict[str, Percent]
    chance: Percent | None = None
    protocol: Protocol
    budget: Budget
    pretraining: Pretraining | None
    model: Model
    curve: list[CurvePoint]
    cost: Cost
    code: Code
    checkpoint: File | None = None
    predictions: File | None = None
    config_file: str | None = None
    config_sha256: Sha256
    seed: int
    environment: dict[str, str]
    created: AwareDatetime

    @model_validator(mode='after')
    def _metrics_belong_to_the_task(self) -> 'Record':
        allowed = METRICS[self.task]
        for where, metrics in [('metrics', self.metrics)] + [
            (f'curve.{i}.metrics', point.metrics) for i, point in enumerate(self.curve)
        ]:
            unknown = set(metrics) - set(allowed)
            if unknown:
                raise ValueError(f'{where}: {sorted(unknown)} not among the metrics of {self.task}: {list(allowed)}')
            if primary_metric(self.task) not in metrics:
                raise ValueError(f'{where}: no {primary_metric(self.task)!r}')
        epochs = [point.epoch for point in self.curve]
        if epochs != sorted(set(epochs)):
            raise ValueError(f'curve: epochs do not increase: {epochs}')
        return self

    @property
    def value(self) -> float:
        """Primary metric, in percent."""
        return self.metrics[primary_metric(self.task)]


class PretrainingRecord(_Part):
    """One pretraining run: its facts, cost and curves.

    ``curves`` has points (epoch, value) by name: ``loss``; ``knn_top1`` and ``linear_top1``, the frozen backbone's
    accuracy in percent, ``teacher_knn_top1`` and ``teacher_linear_top1``, its teacher's; ``explained_variance_visible``
    and ``explained_variance_masked``, at most 1; what :class:`hgkd_mm.hooks.DiagnosticsHook` found on unseen images.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    backbone: str
    pretraining: Pretraining
    curves: dict[str, list[tuple[float, float]]]
    cost: Cost
    code: Code
    config_sha256: Sha256
    environment: dict[str, str]
    created: AwareDatetime


AnyRecord = TypeVar('AnyRecord', bound=BaseModel)


def load_record(path: str | os.PathLike) -> Record:
    """Read and check a ``result.json``, see :func:`load_sealed`."""
    return load_sealed(path, Record)[0]


def load_sealed(path: str | os.PathLike, kind: type[AnyRecord]) -> tuple[AnyRecord, str]:
    """Read and check one record.

    Args:
        path: A JSON file.
        kind: What is expected in it.

    Returns:
        The record and its seal.

    Raises:
        RecordError: The file is missing, not JSON, of another version, was edited, or a field is wrong; names file and
            field.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise RecordError(f'{path}: cannot be read: {error.strerror}') from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f'{path}: damaged: not JSON: {error}') from None
    if not isinstance(content, dict):
        raise RecordError(f'{path}: not a record: expected an object, found {type(content).__name__}')
    version = content.get('schema_version')
    known = kind.model_fields['schema_version'].default
    if version != known:
        raise RecordError(f'{path}: schema_version is {version!r}, this hgkd_mm reads {known}')
    seal = content.pop('content_sha256', None)
    try:
        record = kind.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise RecordError(f'{path}: {explain(error)}') from None
    if seal != sha256_json(content):
        raise RecordError(f'{path}: was edited after it was written: its content does not fit its content_sha256')
    return record, seal


def save_record(record: BaseModel, path: str | os.PathLike) -> None:
    """Write a record and its seal; the file appears whole or not at all."""
    content = json.loads(record.model_dump_json())
    content['content_sha256'] = sha256_json(content)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')


def explain(error: ValidationError) -> str:
    """Say in one line which fields are wrong and why."""
    problems = []
    for item in error.errors(include_url=False):
        field = '.'.join(map(str, item['loc']))
        message = item['msg'].removeprefix('Value error, ')
        problems.append(f'{field}: {message}' if field else message)
    return '; '.join(problems)
