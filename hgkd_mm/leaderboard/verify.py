"""Check records against the files they are about, and against a repeated evaluation."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from ..errors import HGKDError
from ..utils import sha256_file
from .collect import Run, find_runs
from .record import Record, load_record

#: Percent points that a repeated evaluation may differ by: sums in another order, not another result.
TOLERANCE = 0.1


class Check(NamedTuple):
    """One thing checked. ``state`` is ``'ok'``, ``'gone'`` (the file does not exist any more) or ``'wrong'``."""

    path: Path
    what: str
    state: str
    text: str


def verify(
    folders: Iterable[str | os.PathLike], re_evaluate: bool = False, tolerance: float = TOLERANCE
) -> Iterator[Check]:
    """Check seals, the hashes of checkpoints and backbones that still exist and, if asked, the metrics.

    Args:
        folders: Searched for records.
        re_evaluate: Evaluate each checkpoint again with the run's own config and compare.
        tolerance: Largest difference of a metric, in points.

    Yields:
        A check each; a record that cannot be read is one with the state ``'wrong'``.

    Raises:
        RecordError: There is no sound record.
    """
    found = find_runs(folders)
    for problem in found.problems:
        name, _, text = problem.partition(': ')
        yield Check(Path(name), 'record', 'wrong', text)
    for run in found.runs:
        yield Check(run.path, 'record', 'ok', 'complete and not edited')
        yield from _check_files(run)
        if re_evaluate:
            yield _re_evaluate(run, tolerance)
    for path, pretraining in found.pretrainings.values():
        yield Check(path, 'record', 'ok', 'complete and not edited')
        facts = pretraining.pretraining
        yield from _check_file(path, 'backbone', facts.backbone_file, facts.backbone_sha256)


def _check_files(run: Run) -> Iterator[Check]:
    record = run.record
    if record.checkpoint:
        yield from _check_file(run.path, 'checkpoint', record.checkpoint.file, record.checkpoint.sha256)
    if record.predictions:
        yield from _check_file(run.path, 'predictions', record.predictions.file, record.predictions.sha256)
    if record.pretraining:
        yield from _check_file(
            run.path, 'backbone', record.pretraining.backbone_file, record.pretraining.backbone_sha256
        )


def _check_file(record: Path, what: str, file: str | None, sha256: str | None) -> Iterator[Check]:
    if not file or not sha256:
        return
    path = record.parent / file
    if not path.is_file():
        yield Check(record, what, 'gone', f'{path} does not exist any more')
    elif sha256_file(path) == sha256:
        yield Check(record, what, 'ok', f'{path} is the file that was used')
    else:
        yield Check(record, what, 'wrong', f'{path} is not the file that was used: its SHA-256 is another one')


def _re_evaluate(run: Run, tolerance: float) -> Check:
    record, folder = run.record, run.path.parent
    config = folder / record.config_file if record.config_file else None
    checkpoint = folder / record.checkpoint.file if record.checkpoint else None
    for what, path in (('config', config), ('checkpoint', checkpoint)):
        if path is None or not path.is_file():
            return Check(run.path, 'metrics', 'gone', f'no {what} to evaluate with{f": {path}" if path else ""}')
    assert config is not None and checkpoint is not None
    try:
        again = evaluate(config, checkpoint)
    except HGKDError as error:
        return Check(run.path, 'metrics', 'wrong', f'cannot be evaluated again: {error}')
    different = {
        name: (value, again.metrics.get(name))
        for name, value in record.metrics.items()
        if name not in again.metrics or abs(again.metrics[name] - value) > tolerance
    }
    if different:
        listed = ', '.join(
            f'{name} {old:g} -> {"none" if new is None else f"{new:g}"}' for name, (old, new) in different.items()
        )
        return Check(run.path, 'metrics', 'wrong', f'evaluated again: {listed} (allowed: {tolerance:g} points)')
    worst = max(abs(again.metrics[name] - value) for name, value in record.metrics.items())
    return Check(run.path, 'metrics', 'ok', f'evaluated again: largest difference {worst:.3g} points')


def evaluate(config: Path, checkpoint: Path) -> Record:
    """Evaluate a checkpoint with a run's whole config, in a temporary work dir, and return the new record."""
    from ..engine import test

    cfg = Config.fromfile(config)
    # What the training validated on is what its record is about.
    for part in ('dataloader', 'evaluator', 'cfg'):
        if cfg.get(f'val_{part}') is not None:
            cfg[f'test_{part}'] = cfg[f'val_{part}']
    cfg.log_level = 'WARNING'  # checks are what is shown
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, config.name)
        cfg.dump(copy)
        test([str(copy), str(checkpoint), '--work-dir', folder])
        return load_record(Path(folder, 'result.json'))
