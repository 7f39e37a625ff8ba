"""Peak memory of a training step above the model itself, each variant in a process of its own."""

import json
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from ..errors import HGKDError
from .encoder import Setting, steps


def peak_memory(setting: Setting, variant: str, repeats: int = 1) -> float:
    """Return the peak of a forward and backward pass above what was held before it, in MiB.

    On a CPU this is the memory of the process, on a GPU that of PyTorch's tensors there.

    Args:
        setting: What to run.
        variant: Of :func:`~hgkd_mm.speed.encoder.available`.
        repeats: Processes; the median counts.

    Raises:
        HGKDError: The process failed; with the end of what it said.
    """
    command = [sys.executable, '-m', __name__, variant, json.dumps(asdict(setting))]
    torch.cuda.empty_cache()  # what this process keeps for later use, the others could not have
    found = []
    for _ in range(repeats):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HGKDError(f'measuring the memory of {variant} failed: {done.stderr.strip()[-500:]}')
        found.append(float(done.stdout.split()[-1]))
    return statistics.median(found)


def _measure(variant: str, setting: Setting) -> float:
    torch.set_num_threads(setting.threads)
    step = steps(setting, variant, backward=True)
    if setting.device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - held) / 2**20
    # Forget the peak so far: building took memory too, and a child starts with its parent's peak.
    Path('/proc/self/clear_refs').write_text('5')
    before = _status('VmRSS')
    step()
    return (_status('VmHWM') - before) / 1024


def _status(name: str) -> int:
    """Return a memory figure of this process, in KiB (Linux)."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{name}:'))


if __name__ == '__main__':
    print(_measure(sys.argv[1], Setting(**json.loads(sys.argv[2]))))
