"""Copy records and their pictures without the weights they are about, to keep or publish them."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ..errors import RecordError
from .collect import find_runs, picture_paths, record_paths


def gather(folders: Iterable[str | os.PathLike], out: str | os.PathLike) -> tuple[list[Path], list[str]]:
    """Copy the sound records below some folders, with predictions and pictures; each keeps its place below its folder.

    Args:
        folders: Searched for records.
        out: Folder to copy to.

    Returns:
        Files written, and the problems of the records left out.

    Raises:
        RecordError: No sound result, or two folders have a record at the same place.
    """
    places = [Path(folder) for folder in folders]
    found = find_runs(places)
    problems = found.problems
    said = {run.path: run.record.predictions.file for run in found.runs if run.record.predictions}
    left_out = {problem.partition(': ')[0] for problem in problems}
    written: dict[Path, Path] = {}
    for place in places:
        for path in record_paths([place]):
            target = Path(out) / (path.name if place.is_file() else path.relative_to(place))
            if str(path) in left_out:
                continue
            if target in written:
                raise RecordError(f'{path} and {written[target]} would both be copied to {target}')
            written[target] = path
            if path in said and Path(said[path]).name == said[path] and path.with_name(said[path]).is_file():
                written[target.with_name(said[path])] = path.with_name(said[path])
            if not place.is_file():
                written.update((target.parent / 'pictures' / one.name, one) for one in picture_paths(path.parent))
    for target, path in written.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return list(written), problems
