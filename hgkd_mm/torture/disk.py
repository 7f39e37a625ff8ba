"""A disk that is full at one write after another: nothing that was there is lost, and with room the run ends right."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ..engine.resume import newest_checkpoint
from ..errors import StorageError, WeightsError
from ..transfer import load_checkpoint_file
from .kills import differences, final_state
from .process import Child, train_child
from .subject import make_images, write_config

#: What a run that could not write may end with: written after all, told at the end or at once.
_CODES = (0, StorageError.exit_code)


@contextlib.contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[bool]:
    """Make a folder a file system of so many KiB.

    Yields:
        False where that needs rights which the user does not have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={kib}k', 'tmpfs', str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(['umount', str(folder)], capture_output=True, check=True)


def _resize(folder: Path, kib: int) -> None:
    subprocess.run(['mount', '-o', f'remount,size={kib}k', str(folder)], capture_output=True, check=True)


def fill_disks(folder: Path, count: int) -> tuple[int, list[str], str]:
    """Run subjects on disks too small for them, at ``count`` sizes, then make room and resume.

    Args:
        folder: To work in.
        count: Sizes of each subject's disk.

    Returns:
        Runs, what went wrong, and how the disk was made small.
    """
    tried, wrong, how = 0, [], 'tmpfs'
    for name in ('pretraining', 'fine-tuning'):
        config = write_config(folder, make_images(folder / 'images'), name)
        whole = folder / f'{name}-whole'
        ended = train_child(config, whole).wait()
        if ended is None or ended.code:
            return tried, [f'{name}: the run with room failed'], how
        expected = final_state(whole)
        peak = 2 * sum(path.stat().st_size for path in whole.rglob('*') if path.is_file()) >> 10
        largest = max(path.stat().st_size for path in whole.rglob('*.pth'))
        for number in range(count):
            share = (number + 0.5) / count
            disk = folder / f'{name}-disk-{number}'
            with small_disk(disk, max(16, int(peak * share))) as mounted:
                work_dir, tried = disk / 'run', tried + 1
                log = disk.with_suffix('.log')
                child = (
                    train_child(config, work_dir, log=log)
                    if mounted
                    else _limited(config, work_dir, int(largest * share))
                )
                how = how if mounted else 'a limit on the size of files'
                ended = child.wait()
                assert ended is not None
                if ended.code not in _CODES:
                    wrong.append(f'{name} at {share:.0%}: exit code {ended.code}: {ended.output[-500:]}')
                if not _best_is_there(work_dir):
                    wrong.append(f'{name} at {share:.0%}: the best checkpoint is gone')
                if mounted:
                    _resize(disk, 4 * peak)
                ended = train_child(config, work_dir, log=log).wait()
                assert ended is not None
                if ended.code:
                    wrong.append(f'{name} at {share:.0%}: resumed with room: {ended.code}: {ended.output[-500:]}')
                    continue
                wrong += [f'{name} at {share:.0%}: {d}' for d in differences(expected, final_state(work_dir))]
            shutil.rmtree(disk, ignore_errors=True)
    return tried, wrong, how


def _best_is_there(work_dir: Path) -> bool:
    newest = newest_checkpoint(work_dir)
    hub = load_checkpoint_file(newest)['message_hub'] if newest else {}
    best = hub.get('runtime_info', {}).get('best_ckpt')
    try:
        return best is None or bool(load_checkpoint_file(best))
    except WeightsError:
        return False


def _limited(config: Path, work_dir: Path, size: int) -> Child:
    from ..engine import train

    def body() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        train([str(config), '--work-dir', str(work_dir), '--resume'])

    work_dir.parent.mkdir(parents=True, exist_ok=True)
    return Child(body, work_dir.parent.with_suffix('.log'))


def fill_writers(folder: Path) -> tuple[int, list[str]]:
    """Let every other writer of results meet a full disk: the file from before stays whole.

    Returns:
        Writers and what went wrong.
    """
    from ..datasets.checks.report import write_manifest
    from ..errors import HGKDError
    from ..leaderboard.build import build
    from ..leaderboard.record import load_record, save_record
    from ..leaderboard.synthetic import write_synthetic
    from ..models.token_cache import TokenCache
    from ..transfer.checkpoint import AtomicLocalBackend
    from ..utils import write_block

    write_synthetic(folder / 'records', 1)
    record = load_record(next((folder / 'records').rglob('result.json')))
    text, big = '<!-- a -->\n<!-- /a -->\n', 'x' * 300_000
    wrong = []

    def body() -> None:
        import torch

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        disk = folder / 'disk'
        disk.mkdir()
        (disk / 'page.md').write_text(text)
        save_record(record, disk / 'result.json')
        files = {path: path.read_bytes() for path in disk.iterdir()}
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
        writers = {
            'record': lambda: save_record(record, disk / 'result.json'),
            'document': lambda: write_block(disk / 'page.md', 'a', big),
            'manifest': lambda: write_manifest(disk / 'manifest.json', {'a': big}),
            'checkpoint': lambda: AtomicLocalBackend().put(big.encode(), disk / 'epoch_1.pth'),
            'leaderboard': lambda: build([folder / 'records'], disk / 'board'),
            'token cache': lambda: TokenCache(disk / 'cache', 1000, [(8, 2, 2)], {}).write(
                torch.arange(4), [torch.zeros(4, 8, 2, 2)]
            ),
        }
        for name, write in writers.items():
            try:
                write()
                print(f'{name}: no error')
            except (HGKDError, OSError):
                pass
        for path, content in files.items():
            if path.read_bytes() != content:
                print(f'{path.name}: changed')
        left = [p.name for p in disk.rglob('*') if p.is_file() and p not in files and p.parent == disk]
        if left:
            print(f'left behind: {left}')

    child = Child(body, folder / 'writers.log')
    ended = child.wait()
    assert ended is not None
    if ended.code or ended.output:
        wrong.append(f'exit code {ended.code}: {ended.output[-800:]}')
    os.sync()
    return 6, wrong
