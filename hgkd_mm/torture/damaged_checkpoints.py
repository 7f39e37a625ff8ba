"""Damaged checkpoints: none is loaded, the one before is found."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from ..engine.resume import newest_checkpoint
from ..errors import WeightsError
from ..transfer import load_checkpoint_file
from .process import train_child
from .subject import make_images, write_config


def _flip(content: bytearray, rng: random.Random) -> None:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _flip_end(content: bytearray, rng: random.Random) -> None:
    content[-1 - rng.randrange(150)] ^= 1 << rng.randrange(8)


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


def _cut_end(content: bytearray, rng: random.Random) -> None:
    del content[-1 - rng.randrange(150) :]


def _zero(content: bytearray, rng: random.Random) -> None:
    start, size = rng.randrange(len(content) - 4096), rng.randrange(512, 4096)
    # a block that holds something: what was zero stays the same file
    while not any(content[start : start + size]):
        start = rng.randrange(len(content) - 4096)
    content[start : start + size] = bytes(len(content[start : start + size]))


def _append(content: bytearray, rng: random.Random) -> None:
    content += rng.randbytes(rng.randrange(1, 300))


def _swap(content: bytearray, rng: random.Random) -> None:
    middle = rng.randrange(1000, len(content) - 1000)
    content[:] = content[middle:] + content[:middle]


def _empty(content: bytearray, rng: random.Random) -> None:
    content.clear()


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip_end, _cut, _cut_end, _zero, _append, _swap, _empty,
)  # fmt: skip


def damage_checkpoints(folder: Path, count: int, seed: int) -> list[str]:
    """Damage the newest checkpoint of a run ``count`` times in different ways.

    Args:
        folder: To work in.
        count: How many.
        seed: Of the damages.

    Returns:
        What went wrong: a damaged file was loaded, or the one before was not found.
    """
    config = write_config(folder, make_images(folder / 'images'), 'pretraining')
    # a run that has not come to its end keeps the checkpoints within the epoch
    ended = train_child(config, folder / 'run', 'max_epochs=2', 'custom_hooks=[]').wait()
    if ended is None or ended.code:
        return [f'the run failed: {ended.output[-1000:] if ended else ""}']
    shutil.copy(folder / 'run' / 'epoch_2.pth', folder / 'run' / 'epoch_1.pth')
    newest, before = folder / 'run' / 'epoch_2.pth', folder / 'run' / 'epoch_1.pth'
    sound, rng, wrong = newest.read_bytes(), random.Random(seed), []
    for number in range(count):
        damage = DAMAGES[number % len(DAMAGES)]
        content = bytearray(sound)
        damage(content, rng)
        newest.write_bytes(content)
        try:
            load_checkpoint_file(newest)
            wrong.append(f'{number}: {damage.__name__}: loaded')
        except WeightsError:
            pass
        except Exception as error:
            wrong.append(f'{number}: {damage.__name__}: {type(error).__name__}: {error}')
        found = newest_checkpoint(folder / 'run')
        if found != str(before):
            wrong.append(f'{number}: {damage.__name__}: resumed from {found}')
    return wrong
