"""Small helpers shared by the whole package."""

import contextlib
import functools
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import HGKDError, RecordError


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it on success, remove it on failure.

    Args:
        path: Final file. Its folder is created.

    Yields:
        Path to write to, same folder and suffix, so that the rename is atomic.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.stem}.', suffix=path.suffix)
    os.close(handle)
    os.chmod(name, 0o644)  # mkstemp makes it private to the user
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, 'rb') as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where the file system knows how."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file as a hexadecimal string."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_json(value: object) -> str:
    """Return the SHA-256 of a value's JSON form with sorted keys; what JSON does not know goes in as its text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def insert_block(document: Path, name: str, body: str) -> str:
    """Return a Markdown document's text with ``body`` between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        RecordError: The document cannot be read or has no such markers.
    """
    start, end = f'<!-- {name} -->', f'<!-- /{name} -->'
    try:
        text = document.read_text(encoding='utf-8')
    except OSError as error:
        raise RecordError(f'{document}: cannot be read: {error.strerror}') from None
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise RecordError(f'{document}: expected the markers {start} and then {end}')
    return f'{before}{start}\n\n{body}\n{end}{after}'


def write_block(document: Path, name: str, body: str) -> None:
    """Replace a block of a Markdown document, see :func:`insert_block`."""
    text = insert_block(document, name, body)
    with atomic_write(document) as temporary:
        temporary.write_text(text, encoding='utf-8')


def cli_errors(main: Callable[[], object]) -> Callable[[], None]:
    """Show the project's typed errors as one line and exit with the error's code, 2 for wrong input.

    In a locale of another encoding than UTF-8 the command begins again in Python's UTF-8 mode.
    """

    @functools.wraps(main)
    def wrapper() -> None:
        if sys.getfilesystemencoding() != 'utf-8':  # configs and records name files in UTF-8
            os.environ['PYTHONUTF8'] = '1'
            os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])
        try:
            main()
        except HGKDError as error:
            # with its end at once: print() may write them apart, and the processes of a run share the stream
            sys.stderr.write(f'error: {error}\n')
            sys.exit(error.exit_code)

    return wrapper
