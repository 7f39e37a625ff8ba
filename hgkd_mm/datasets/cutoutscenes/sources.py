"""Fetching of the source pictures from Debian packages, without installing them."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from hgkd_mm.errors import DownloadError
from hgkd_mm.utils import atomic_write, sha256_file

from .catalogue import Package, Picture
from .rcc import read_rcc

ELSEWHERE = 'or compose scenes from your own pictures with --source DIR'


def cache_dir() -> Path:
    """Return the folder for downloads: ``$XDG_CACHE_HOME/hgkd_mm``, else ``~/.cache/hgkd_mm``."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'hgkd_mm'


def fetch_pictures(
    package: Package,
    pictures: Iterable[Picture],
    cache: Path,
    say: Callable[[str], None] = print,
) -> dict[str, Path]:
    """Give the files of a package's pictures, from the cache or by downloading the package.

    Every file is checked against its pinned checksum each time, so a package of another version is
    good enough as long as the pictures in it are the same.

    Args:
        package: Package to take them from.
        pictures: Pictures of that package.
        cache: Folder of the cache; downloads go to ``debs/`` in it, pictures to ``pictures/``.
        say: Called with a line for the user before something slow.

    Returns:
        Path as in the catalogue -> file.

    Raises:
        DownloadError: The package cannot be fetched or read, or holds other pictures.
    """
    pinned = {picture.path: picture.sha256 for picture in pictures}
    folder = cache / 'pictures' / package.name
    stored = {path: folder / digest for path, digest in pinned.items()}  # named by content
    if all(f.is_file() and sha256_file(f) == pinned[path] for path, f in stored.items()):
        return stored
    deb = fetch_deb(package, cache / 'debs', say)
    say(f'reading {len(pinned)} pictures from {deb.name}')
    found = extract(deb, package.root, pinned)
    bad = [p for p in pinned if hashlib.sha256(found.get(p, b'')).hexdigest() != pinned[p]]
    if bad:
        raise DownloadError(
            f'{deb}: {len(bad)} of {len(pinned)} pictures are missing or changed, first {bad[0]}; '
            f'CutoutScenes is made from {package.name} {package.version} (Debian 12): fetch that '
            f'version into {deb.parent}, {ELSEWHERE}'
        )
    for path, content in found.items():
        with atomic_write(stored[path]) as temporary:
            temporary.write_bytes(content)
    return stored


def fetch_deb(package: Package, folder: Path, say: Callable[[str], None] = print) -> Path:
    """Give a ``.deb`` file: the pinned one if it lies in the folder, else what apt downloads.

    Args:
        package: Package to fetch; its pinned version is preferred, else the one apt knows.
        folder: Folder downloads are kept in.
        say: Called with a line for the user before the download.

    Raises:
        DownloadError: There is no ``apt-get``, it does not know the package, or it fails.
    """
    for deb in sorted(folder.glob(f'{package.name}_*.deb')):
        if sha256_file(deb) == package.sha256:
            return deb
    if not (apt := shutil.which('apt-get')) or not shutil.which('dpkg-deb'):
        raise DownloadError(
            f'apt-get and dpkg-deb are needed to fetch {package.name} and are not on this system: '
            f'copy {package.name} {package.version} of Debian 12 to {folder} and install dpkg, '
            f'{ELSEWHERE}'
        )
    say(f'downloading {package.name} {package.version} to {folder}')
    folder.mkdir(parents=True, exist_ok=True)
    words = ''
    for wanted in (f'{package.name}={package.version}', package.name):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            done = subprocess.run(
                [apt, 'download', wanted],
                cwd=scratch,
                env={**os.environ, 'LC_ALL': 'C'},
                capture_output=True,
                text=True,
            )
            debs = list(Path(scratch).glob('*.deb'))
            if done.returncode == 0 and debs:
                os.replace(debs[0], folder / debs[0].name)
                return folder / debs[0].name
            words = done.stderr.strip() or done.stdout.strip()
    if re.search(r'Unable to locate package|no candidate|not found|select version', words):
        raise DownloadError(
            f'apt does not know the package {package.name}: its lists may be empty or old; run '
            f'`sudo apt-get update` and try again, {ELSEWHERE}'
        )
    last = words.splitlines()[-1] if words else 'no message'
    raise DownloadError(f'apt-get download {package.name} failed: {last}; try again, {ELSEWHERE}')


def extract(deb: Path, root: str, wanted: Iterable[str]) -> dict[str, bytes]:
    """Read files out of a ``.deb`` without unpacking it to disk.

    Names in the archive never become paths on disk, and only ordinary files are read, so a hostile
    archive cannot write or read anything elsewhere.

    Args:
        deb: Package file.
        root: Folder inside the package.
        wanted: Paths below the root; ``ARCHIVE.rcc!PATH`` is a file inside a Qt archive.

    Returns:
        Path -> content of those that are there.

    Raises:
        DownloadError: The file is no readable package.
    """
    members: dict[str, list[str]] = {}
    for path in wanted:
        members.setdefault(path.partition('!')[0], []).append(path)
    found: dict[str, bytes] = {}
    try:
        process = subprocess.Popen(
            ['dpkg-deb', '--fsys-tarfile', str(deb)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise DownloadError(f'{deb}: reading it needs dpkg-deb: install dpkg, {ELSEWHERE}') from error
    assert process.stdout is not None and process.stderr is not None
    with process:
        try:
            with tarfile.open(fileobj=process.stdout, mode='r|') as archive:
                for member in archive:
                    name = PurePosixPath(member.name)
                    if not member.isfile() or '..' in name.parts or not name.is_relative_to(root):
                        continue
                    relative = str(name.relative_to(root))
                    if relative in members:
                        content = archive.extractfile(member).read()  # type: ignore[union-attr]
                        found.update(_parts(relative, content, members[relative]))
        except tarfile.TarError as error:
            reason = process.stderr.read().decode(errors='replace').strip() or error
            raise DownloadError(f'{deb}: not a readable package ({reason}); delete it') from error
        process.stdout.read()  # what follows the end mark, so that dpkg-deb ends in peace
    if process.returncode:
        raise DownloadError(f'{deb}: dpkg-deb failed on it; delete it and try again')
    return found


def _parts(member: str, content: bytes, paths: list[str]) -> dict[str, bytes]:
    """Give the wanted paths that one archive member holds: itself, or files of a Qt archive."""
    if paths == [member]:
        return {member: content}
    inner = read_rcc(content, member)
    split = {path: path.partition('!')[2] for path in paths}
    return {path: inner[name] for path, name in split.items() if name in inner}
