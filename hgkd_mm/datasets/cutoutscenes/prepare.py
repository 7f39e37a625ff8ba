"""Making of the whole data set: from sources to a finished folder, or nothing."""

import contextlib
import errno
import hashlib
import json
import multiprocessing
import os
import shlex
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import features
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from hgkd_mm.errors import ConfigError, DataError
from hgkd_mm.utils import atomic_write

from ..checks import subset_path, write_subset
from .catalogue import catalogue_sha256, load_catalogue
from .contact import draw_contact_sheet
from .credits import debian_credits, folder_credits
from .folds import FOLDS
from .formats import make_folders, write_coco, write_scene, write_unlabeled
from .material import Material, debian_material, folder_material
from .sampler import SPLITS, Sampler
from .sources import cache_dir

NAME = 'CutoutScenes'
SCHEMA = 2  # of the manifest
VERSION = '1.0'  # of the generator: raised when its scenes change
LABEL_PERCENTS = (10, 25)  # of which there are lists
MAX_COUNT = 1_000_000  # six digits in file names


@dataclass(frozen=True)
class Options:
    """What decides the content of a data set.

    Attributes:
        fold: Fold 0 to 4 to validate on.
        seed: Seed of the scenes, >= 0. The folds do not depend on it.
        size: Side of the scenes in pixels, 64 to 1024.
        train: Number of training scenes.
        val: Number of validation scenes.
        unlabeled: Number of unlabelled scenes.
    """

    fold: int = 0
    seed: int = 0
    size: int = 128
    train: int = 2530
    val: int = 440
    unlabeled: int = 5280

    def check(self) -> None:
        """Raise a `ConfigError` for a value out of range."""
        ranges = dict(fold=(0, FOLDS - 1), seed=(0, 2**32 - 1), size=(64, 1024))
        for name, value in asdict(self).items():
            low, high = ranges.get(name, (0, MAX_COUNT))
            if not low <= value <= high:
                raise ConfigError(f'{name} is {value}, expected {low} to {high}')


def prepare_cutoutscenes(
    out: str | Path,
    fold: int = 0,
    seed: int = 0,
    size: int = 128,
    train: int = 2530,
    val: int = 440,
    unlabeled: int = 5280,
    source: str | Path | None = None,
    force: bool = False,
    workers: int | None = None,
    cache: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Make the data set CutoutScenes.

    It is built in a folder beside ``out`` and renamed when complete. A complete data set of the
    same options is left as it is, except that lists of a share of the labels are added where they are missing.

    Args:
        out: Folder of the data set.
        fold: Fold 0 to 4 whose identities and backgrounds make up the validation split.
        seed: Seed of the scenes.
        size: Side of the scenes in pixels.
        train: Number of training scenes.
        val: Number of validation scenes.
        unlabeled: Number of unlabelled scenes for pretraining.
        source: Folder with own pictures, see `folder_material`. None: the Debian packages.
        force: Make it anew, replacing an existing data set of any options.
        workers: Number of processes, 1 or more; default: one per processor.
        cache: Folder for downloads; default: see `cache_dir`.
        say: Called with lines for the user.

    Returns:
        ``out``.

    Raises:
        ConfigError: An option is out of range.
        DataError: The folder holds something else, the sources are too few, or the disk is full.
        DownloadError: The source pictures cannot be fetched.
    """
    options = Options(fold, seed, size, train, val, unlabeled)
    options.check()
    workers = workers or _cpu_count()
    if workers < 1:
        raise ConfigError(f'workers is {workers}, expected 1 or more')
    # Not resolve(): a link to another disk stays one.
    out = Path(os.path.abspath(out))
    # The packages are pinned by the version, so this needs no reading of their pictures.
    material = folder_material(Path(source), size) if source else None
    facts = {
        'name': NAME,
        'version': VERSION,
        **asdict(options),
        'source': f'{Path(source).name} {material.fingerprint[:16]}'
        if source and material
        else f'debian {catalogue_sha256()[:16]}',
    }
    if _is_there(out, facts, force):
        say(f'{out}: already there')
        with _disk_errors(out):
            _write_lists(out)  # earlier versions made none
        return out
    _check_space(out, options)
    if material is None:
        downloads = Path(cache) if cache else cache_dir()
        with _disk_errors(downloads):
            material = debian_material(size, downloads, say)
    with _disk_errors(out.parent), _whole_or_nothing(out) as folder:
        counts = _write(folder, material, options, workers, say)
        _write_lists(folder)
        _write_manifest(folder, material, facts, counts, source is None)
        text = debian_credits() if source is None else folder_credits(Path(str(source)).name)
        (folder / 'CREDITS.md').write_text(text, encoding='utf-8')
        draw_contact_sheet(folder, material.classes)
    say(f'{out}: {train} train, {val} val, {unlabeled} unlabelled scenes of {size} px')
    return out


def prepare_command(root: Path) -> str | None:
    """Return the command that made the data set in a folder; None where the folder holds none."""
    manifest = _read_manifest(root)
    if manifest is None:
        return None
    options = ''.join(f' --{name} {manifest[name]}' for name in asdict(Options()))
    made_of = str(manifest['source']).rpartition(' ')[0]
    source = '' if made_of == 'debian' else f' --source DIR/{made_of}'
    return f'python tools/prepare_data.py cutoutscenes --out {shlex.quote(str(root))}{options}{source}'


def _read_manifest(out: Path) -> dict | None:
    try:
        found = json.loads((out / 'manifest.json').read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get('name') == NAME else None


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _is_there(out: Path, facts: dict, force: bool) -> bool:
    """Tell whether the wanted data set exists; refuse to touch anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    found = _read_manifest(out)
    if found is None:
        raise DataError(f'{out}: exists and is no CutoutScenes data set: choose another --out')
    differ = [f'{key} is {found.get(key)!r}, not {value!r}' for key, value in facts.items() if found.get(key) != value]
    if force:
        return False
    if differ:
        raise DataError(
            f'{out}: holds a data set of other options ({"; ".join(differ)}): pass --force to '
            'replace it, or another --out'
        )
    return True


def _check_space(out: Path, options: Options) -> None:
    """Refuse early what would fill the disk."""
    pixels = options.size**2
    # An RGB photograph as PNG takes up to about 2.5 bytes a pixel, a label map next to nothing.
    need = int(2.7 * pixels * (options.train + options.val + options.unlabeled)) + (16 << 20)
    place = next(folder for folder in out.parents if folder.exists())
    free = shutil.disk_usage(place).free
    if free < need:
        raise DataError(
            f'{place}: {free >> 20} MiB free, the data set needs up to {need >> 20} MiB: make '
            'room, ask for fewer scenes, or choose another --out'
        )


@contextlib.contextmanager
def _disk_errors(place: Path) -> Iterator[None]:
    """Turn what the disk refuses, and the death of a worker process, into typed errors."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f'{place}: the disk is full: make room and try again') from error
        raise DataError(f'{place}: cannot be written ({error})') from error
    except BrokenProcessPool as error:
        raise DataError(
            f'{place}: a worker process died, probably for lack of memory: try a smaller --workers'
        ) from error


@contextlib.contextmanager
def _whole_or_nothing(out: Path) -> Iterator[Path]:
    """Give a folder beside ``out`` that takes its place on success and vanishes on failure."""
    temporary = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f'.{out.name}.'))
        temporary.chmod(0o755)
        yield temporary
        if out.exists():  # rename cannot replace a folder that is not empty
            old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f'.{out.name}.old.'))
            os.rename(out, old / out.name)
            os.rename(temporary, out)
            shutil.rmtree(old)
        else:
            os.rename(temporary, out)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _write(
    folder: Path, material: Material, options: Options, workers: int, say: Callable[[str], None]
) -> dict[str, dict]:
    """Compose and write all scenes; return facts about each split."""
    amounts = dict(zip(SPLITS, (options.train, options.val, options.unlabeled), strict=True))
    samplers = {split: Sampler(material, split, options.fold, options.seed, options.size) for split in SPLITS}
    for split in SPLITS[:2]:
        make_folders(folder, split, material.classes)
    (folder / 'unlabeled').mkdir()
    jobs = [(split, index) for split, amount in amounts.items() for index in range(amount)]
    say(f'composing {len(jobs)} scenes of {options.size} px with {workers} processes')
    results: dict[str, list[tuple[list[dict], str]]] = {split: [] for split in SPLITS}
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(*columns) as bar:
        task = bar.add_task('scenes', total=len(jobs))
        for (split, _), result in zip(jobs, _map(jobs, folder, samplers, workers), strict=True):
            results[split].append(result)
            bar.advance(task)
    facts = {}
    for split, outcomes in results.items():
        digest = hashlib.sha256(''.join(digest for _, digest in outcomes).encode())
        facts[split] = {'images': len(outcomes), 'sha256': digest.hexdigest()}
        if split == 'unlabeled':
            continue
        sampler = samplers[split]
        scenes = [(sampler.background(i), things) for i, (things, _) in enumerate(outcomes)]
        write_coco(folder / f'instances_{split}.json', scenes, material.classes, options.size)
        facts[split] |= {
            'main_objects': _count(material, [things[0] for _, things in scenes]),
            'objects': _count(material, [thing for _, things in scenes for thing in things]),
            'identities': {name: len(sampler.identities[name]) for name in material.classes},
            'backgrounds': len(sampler.backgrounds),
        }
    return facts


def _write_lists(folder: Path) -> None:
    """List 10 % and 25 % of each class's training scenes, the smaller share being part of the larger one."""
    for percent in LABEL_PERCENTS:
        if not subset_path(folder / 'classification', percent).is_file():
            write_subset(folder / 'classification', percent)


def _count(material: Material, annotations: list[dict]) -> dict[str, int]:
    counts = Counter(annotation['category_id'] for annotation in annotations)
    return {name: counts[label] for label, name in enumerate(material.classes, 1)}


_worker: tuple[Path, dict[str, Sampler]] | None = None  # of a worker process


def _start_worker(folder: Path, samplers: dict[str, Sampler]) -> None:
    global _worker
    _worker = folder, samplers


def _make(job: tuple[str, int]) -> tuple[list[dict], str]:
    """Compose and write one scene."""
    assert _worker is not None
    folder, samplers = _worker
    split, index = job
    scene = samplers[split].scene(index)
    if split == 'unlabeled':
        return [], write_unlabeled(folder, index, scene)
    return write_scene(folder, split, index, scene, samplers[split].classes)


def _map(
    jobs: list[tuple[str, int]], folder: Path, samplers: dict[str, Sampler], workers: int
) -> Iterator[tuple[list[dict], str]]:
    if workers == 1:
        _start_worker(folder, samplers)
        yield from map(_make, jobs)
        return
    # Forked processes share the loaded pictures; elsewhere every process gets a copy.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context('fork' if 'fork' in methods else None)
    with ProcessPoolExecutor(workers, context, _start_worker, (folder, samplers)) as pool:
        try:
            yield from pool.map(_make, jobs, chunksize=16)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write_manifest(folder: Path, material: Material, facts: dict, splits: dict, debian: bool) -> None:
    packages = load_catalogue()[0].values() if debian else ()
    content = {
        'schema': SCHEMA,
        **facts,
        'classes': list(material.classes),
        'splits': splits,
        'source_sha256': material.fingerprint,
        # another version of it rounds photographs otherwise
        'decoder': f'libjpeg-turbo {features.version("libjpeg_turbo")}',
        'packages': [{'name': p.name, 'version': p.version, 'sha256': p.sha256} for p in packages],
    }
    with atomic_write(folder / 'manifest.json') as temporary:
        temporary.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
