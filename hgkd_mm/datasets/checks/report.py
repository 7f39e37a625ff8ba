"""What the checks share: collecting problems, looking at image files, writing the manifest."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...utils import atomic_write
from ..transforms.load_image import fault_of

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')
#: Examples shown of each kind of problem.
_SHOWN = 3


class Report:
    """Problems of a data root, raised together.

    Args:
        root: The folder, for messages.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []

    def add(self, problem: str, examples: Iterable[str] = ()) -> None:
        """Note a problem, with the first few examples of it."""
        examples = list(examples)
        shown = ', '.join(examples[:_SHOWN]) + (f', ... ({len(examples)} in all)' if len(examples) > _SHOWN else '')
        self.problems.append(f'{problem}: {shown}' if examples else problem)

    def folder(self, name: str) -> Path | None:
        """Return a folder under the root; note it and return None when it is not there."""
        path = self.root / name
        if path.is_dir():
            return path
        beside = sorted(p.name for p in path.parent.iterdir() if p.is_dir()) if path.parent.is_dir() else []
        self.add(f'folder {name} is missing' + (f'; beside it are {", ".join(beside[:5])}' if beside else ''))
        return None

    def count(self, what: str, found: int, expected: int | None) -> None:
        """Note a number that is not the official one; None expects nothing."""
        if expected is not None and found != expected:
            self.add(f'{what}: {found:,} found, {expected:,} expected')

    def finish(self) -> None:
        """Raise when there are problems.

        Raises:
            DataError: Lists them.
        """
        if self.problems:
            lines = ''.join(f'\n- {problem}' for problem in self.problems)
            raise DataError(f'{self.root}: {len(self.problems)} problem(s), nothing was changed:{lines}')


def existing_root(root: str | os.PathLike) -> Path:
    """Return the root as a path.

    Raises:
        DataError: It is no folder.
    """
    path = Path(root).expanduser()
    if not path.is_dir():
        raise DataError(f"{path} is no folder: give the data set's root with --root")
    return path


def images_in(folder: Path) -> list[Path]:
    """List the image files of a folder, not of folders in it, sorted."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.lower().endswith(IMAGE_SUFFIXES) and entry.is_file()]
    return [folder / name for name in sorted(names)]


def fault_of_image(path: Path) -> str | None:
    """Say what is wrong with an image file, without decoding it; None when nothing is."""
    try:
        with open(path, 'rb') as file:
            return fault_of(file)
    except OSError as error:
        return f'cannot be read: {error.strerror}'


def check_images(report: Report, paths: Sequence[Path], workers: int = 8) -> None:
    """Note the files of ``paths`` that cannot be read."""
    with ThreadPoolExecutor(workers) as pool:
        faults = list(pool.map(fault_of_image, paths))
    bad = [f'{path.relative_to(report.root)} ({fault})' for path, fault in zip(paths, faults, strict=True) if fault]
    if bad:
        report.add('unreadable images', bad)


def digest_of(names: Iterable[str]) -> str:
    """Return a SHA-256 of names and sizes, in the order given."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(os.fsencode(name) + b'\0')
    return digest.hexdigest()


def listing(root: Path, paths: Iterable[Path]) -> Iterable[str]:
    """Give ``relative/path size`` of files."""
    return (f'{path.relative_to(root)} {path.stat().st_size}' for path in paths)


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest as JSON; results name the data by it.

    Raises:
        DataError: The folder cannot be written to.
    """
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1) + '\n', encoding='utf-8')
    except OSError as error:
        raise DataError(f'{path}: cannot be written ({error.strerror}); give another place with --manifest') from None
