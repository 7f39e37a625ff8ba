"""Which checkpoint to go on from: the newest one that is sound."""

import logging
import os
import re
from pathlib import Path
from typing import NamedTuple

from mmengine.logging import print_log

from ..errors import WeightsError
from ..transfer import load_checkpoint_file

_NAME = re.compile(r'(epoch|iter)_(\d+)\.pth')


class _Candidate(NamedTuple):
    iterations: int
    epoch: int
    path: Path


def newest_checkpoint(work_dir: str | os.PathLike) -> str | None:
    """Find the newest sound checkpoint of a work dir.

    ``last_checkpoint`` names the newest; when that one is damaged, the one before it is taken, by the iterations in the
    files (no clock is asked), and the log says so. A work dir may have been moved.

    Args:
        work_dir: Folder of ``epoch_*.pth`` and ``iter_*.pth``.

    Returns:
        Its path; None when the folder has none.

    Raises:
        WeightsError: There are checkpoints, but none is sound.
    """
    folder = Path(work_dir)
    named = _named(folder)
    damaged: list[str] = []
    if named is not None:
        if _read(named, damaged):
            return str(named)
        _warn(damaged[-1])
    found = []
    for path in folder.glob('*.pth') if folder.is_dir() else ():
        if _NAME.fullmatch(path.name) and path != named and not _is_newer(path, named):
            candidate = _read(path, damaged)
            if candidate is not None:
                found.append(candidate)
            else:
                _warn(damaged[-1])
    if found:
        return str(max(found).path)
    if damaged:
        raise WeightsError(f'{folder}: no sound checkpoint: {"; ".join(damaged)}. Start again without --resume')
    return None


def _named(folder: Path) -> Path | None:
    """Return what ``last_checkpoint`` names, beside it when the folder was moved; None when it names nothing."""
    try:
        text = os.fsdecode((folder / 'last_checkpoint').read_bytes()).strip()
    except OSError:
        return None
    if not text or '\0' in text:
        return None
    path = Path(text)
    return path if path.is_file() else folder / path.name


def _read(path: Path, damaged: list[str]) -> _Candidate | None:
    try:
        meta = load_checkpoint_file(path).get('meta')
    except WeightsError as error:
        damaged.append(str(error))
        return None
    meta = meta if isinstance(meta, dict) else {}
    iterations, epoch = meta.get('iter'), meta.get('epoch')
    return _Candidate(iterations if type(iterations) is int else 0, epoch if type(epoch) is int else 0, path)


def _is_newer(path: Path, named: Path | None) -> bool:
    """Say whether a file's name tells that it came after ``last_checkpoint``: it is left from another run."""
    found, last = (_NAME.fullmatch(p.name) if p else None for p in (path, named))
    return bool(found and last and found[1] == last[1] and int(found[2]) > int(last[2]))


def _warn(text: str) -> None:
    print_log(f'--resume: {text}', logger='current', level=logging.WARNING)
