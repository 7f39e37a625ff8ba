"""Numbers that papers and model zoos report: shown apart from measured ones, never ranked with them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from ..errors import RecordError
from .collect import Row, Table
from .record import METRICS, Percent, Task, explain, primary_metric

REPORTED = Path(__file__).with_name('reported.yaml')


class Reported(BaseModel):
    """One row of a publication. ``place`` says where in the source the numbers stand.

    ``config`` is the file here that follows the protocol, ``recipe`` the name of that protocol in its records.
    """

    model_config = ConfigDict(extra='forbid', allow_inf_nan=False, frozen=True)

    task: Task
    dataset: str
    student: str
    method: str
    protocol: str
    metrics: Annotated[dict[str, Percent], Field(min_length=1)]
    kind: Literal['paper', 'model zoo']
    source: Annotated[str, Field(pattern=r'^https://')]
    place: str
    config: str | None = None
    recipe: str | None = None
    pretraining_epochs: float | None = None

    @model_validator(mode='after')
    def _metrics_belong_to_the_task(self) -> 'Reported':
        unknown = set(self.metrics) - set(METRICS[self.task])
        if unknown:
            raise ValueError(f'metrics: {sorted(unknown)} not among those of {self.task}: {list(METRICS[self.task])}')
        return self

    def labelled(self) -> list[tuple[str, float]]:
        """Return label and value of each metric."""
        return [(METRICS[self.task][name].label, value) for name, value in self.metrics.items()]


class State(NamedTuple):
    """What stands beside a reported number.

    ``name`` is ``'reproduced'`` (measured here under the same protocol), ``'not run'`` (a config here follows the
    protocol, no record yet) or ``'paper'`` (nothing here does).
    """

    name: str
    text: str


def load_reported(path: str | os.PathLike = REPORTED) -> list[Reported]:
    """Read and check a file of reported numbers.

    Raises:
        RecordError: The file cannot be read or a field is wrong.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
        return TypeAdapter(list[Reported]).validate_python(content)
    except OSError as error:
        raise RecordError(f'{path}: cannot be read: {error.strerror}') from None
    except ValidationError as error:
        raise RecordError(f'{path}: {explain(error)}') from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecordError(f'{path}: not YAML: {" ".join(str(error).split())}') from None


def state_of(entry: Reported, tables: Sequence[Table]) -> State:
    """Say whether a reported number was measured here too."""
    metric = primary_metric(entry.task)
    metric = metric if metric in entry.metrics else next(iter(entry.metrics))
    for table in tables:
        for row in table.rows:
            if entry.recipe and metric in row.metrics and _same(entry, table, row):
                difference = row.mean(metric) - entry.metrics[metric]
                return State(
                    'reproduced', f'reproduced: {row.mean(metric):.1f} ({difference:+.1f}), n = {len(row.runs)}'
                )
    return State('not run', 'not run here') if entry.config else State('paper', f'{entry.kind} only')


def _same(entry: Reported, table: Table, row: Row) -> bool:
    epochs = row.pretraining.epochs if row.pretraining else None
    return (
        (entry.task, entry.dataset, entry.recipe) == (table.task, table.dataset.name, table.protocol.recipe)
        and (entry.student, entry.method) == (row.model.backbone, row.method)
        and entry.pretraining_epochs in (None, epochs)
    )
