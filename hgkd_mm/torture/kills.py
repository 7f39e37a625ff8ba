"""SIGKILL at random moments: the resumed run must end with the bits of one that was left alone."""

import random
import signal
from pathlib import Path
from typing import Any

import torch

from ..errors import PreemptedError
from ..transfer import load_checkpoint_file
from .process import train_child
from .subject import make_images, write_config

#: Measured by a clock, so different in every run.
_CLOCKS = ('time', 'data_time', 'memory')


def differences(one: Any, other: Any, where: str = '') -> list[str]:
    """Compare two checkpoints' contents bit by bit; name what differs."""
    if type(one) is not type(other):
        return [f'{where}: {type(one).__name__} and {type(other).__name__}']
    if isinstance(one, dict):
        odd = [f'{where}.{key}: only in one' for key in one.keys() ^ other.keys()]
        return odd + [
            d for key in one.keys() & other.keys() for d in differences(one[key], other[key], f'{where}.{key}')
        ]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f'{where}: {len(one)} and {len(other)} entries']
        return [d for i, pair in enumerate(zip(one, other, strict=True)) for d in differences(*pair, f'{where}.{i}')]
    if isinstance(one, torch.Tensor):
        same = one.shape == other.shape and one.dtype == other.dtype and _bytes(one) == _bytes(other)
        return [] if same else [where]
    return [] if one == other or one != one and other != other else [f'{where}: {one!r} and {other!r}']


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def final_state(work_dir: Path) -> dict[str, Any]:
    """Read what a finished run must have the same in every life: weights, averages, optimizer, schedules, logs."""
    path = Path((work_dir / 'last_checkpoint').read_text(encoding='utf-8'))
    checkpoint = load_checkpoint_file(path)
    hub = checkpoint.pop('message_hub')
    state = {key: value for key, value in checkpoint.items() if key != 'meta'}
    state['position'] = {key: checkpoint['meta'][key] for key in ('epoch', 'iter', 'seed')}
    state['logs'] = {key: value for key, value in hub['log_scalars'].items() if key.rpartition('/')[2] not in _CLOCKS}
    state['best'] = {key: value for key, value in hub['runtime_info'].items() if key == 'best_score'}
    state['files'] = sorted(entry.name for entry in work_dir.glob('*.pth'))
    if (exported := work_dir / 'backbone.pth').is_file():
        state['exported'] = load_checkpoint_file(exported)['state_dict']
    return state


def kill_and_resume(
    folder: Path, name: str, kills: int, seed: int, *options: str, number: int = signal.SIGKILL
) -> tuple[int, int, list[str]]:
    """Kill runs of a subject at random moments until there were ``kills``; compare each finished one.

    Args:
        folder: To work in.
        name: Of the subject.
        kills: How many.
        seed: Of the moments.
        options: As ``--cfg-options``.
        number: Signal; one that stops in good order must end with the exit code for it, or 0 when it came too late.

    Returns:
        Kills, finished runs, and what differed in them.
    """
    config = write_config(folder, make_images(folder / 'images'), name)
    whole = train_child(config, folder / f'{name}-whole', *options)
    ended = whole.wait()
    assert ended is not None
    if ended.code:
        return 0, 0, [f'{name}: the run that was left alone failed: {ended.output[-2000:]}']
    expected, seconds = final_state(folder / f'{name}-whole'), ended.seconds
    rng, done, finished, wrong = random.Random(seed), 0, 0, []
    while done < kills or not finished:
        work_dir = folder / f'{name}-{finished}'
        child = train_child(config, work_dir, *options)
        # when there were enough kills the last run is left to finish
        ended = child.wait(rng.uniform(0, seconds) if done < kills else None)
        if ended is None:
            child.kill(number)
            killed = child.wait(60)
            done += 1
            if killed is None:
                child.kill()
                child.wait()
                wrong.append(f'{name}: still there a minute after signal {number}')
            elif number == signal.SIGTERM and killed.code not in (PreemptedError.exit_code, -signal.SIGTERM, 0):
                wrong.append(f'{name}: exit code {killed.code} after SIGTERM: {killed.output[-500:]}')
            continue
        finished += 1
        if ended.code:
            wrong.append(f'{name}: exit code {ended.code}: {ended.output[-2000:]}')
        else:
            wrong += [f'{name}: {place}' for place in differences(expected, final_state(work_dir))]
    return done, finished, wrong
