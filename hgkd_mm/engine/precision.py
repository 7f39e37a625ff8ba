"""Mixed precision: where it works, where it helps, and switching it on in a config."""

import json
import logging
import statistics
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from ..errors import ConfigError
from ..utils import atomic_write

#: bfloat16 must save at least this share of a training step's time; less is lost again in conversions.
WORTHWHILE_SPEEDUP = 1.15


def enable_amp(cfg: Config) -> None:
    """Switch on mixed precision: bfloat16 autocast on CPUs, float16 with loss scaling elsewhere.

    Raises:
        ConfigError: The config's model or optimizer wrapper cannot do it.
    """
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None:
        raise ConfigError('--amp: the config has no optim_wrapper')
    if wrapper.get('type', 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ConfigError(f'--amp: optim_wrapper.type is {wrapper.type}, expected OptimWrapper')
    if torch.cuda.is_available():
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
        return
    if _is_detection(cfg):
        raise ConfigError("--amp: mmcv's NMS knows no bfloat16 on CPUs; train detectors there without --amp")
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        print_log(
            '--amp: this CPU has no bfloat16 instructions and emulates them, which is much slower',
            logger='current',
            level=logging.WARNING,
        )
    wrapper.type = 'hgkd_mm.AutocastOptimWrapper'
    wrapper.pop('loss_scale', None)


def amp_helps(cfg: Config) -> bool:
    """Say whether mixed precision is possible and faster on this machine; says so to the log too.

    On GPUs it is taken to be. On CPUs a small convolutional network is timed in both precisions.
    """
    if torch.cuda.is_available():
        return True
    if _is_detection(cfg):
        helps, reason = False, "float32: mmcv's NMS knows no bfloat16 on CPUs"
    else:
        helps, reason = bfloat16_helps()
    print_log(f'--amp auto: {reason}', logger='current')
    return helps


def bfloat16_helps() -> tuple[bool, str]:
    """Say whether this CPU trains faster in bfloat16, and the measurement that says so."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False, 'float32: this CPU has no bfloat16 instructions'
    speedup = bfloat16_speedup()
    helps = speedup >= WORTHWHILE_SPEEDUP
    return helps, f'{"bfloat16" if helps else "float32"}: a training step in bfloat16 is {speedup:.2f} times as fast'


def choose_precision(path: Path) -> bool:
    """Say whether to train in mixed precision; measured once and kept in a file.

    The rows of a table must share it: a measurement before every run could turn out either way.
    """
    if not path.is_file():
        helps, reason = (True, 'mixed: a GPU') if torch.cuda.is_available() else bfloat16_helps()
        print(f'Precision: {reason}', flush=True)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps({'amp': helps, 'reason': reason}))
    return json.loads(path.read_text())['amp']


def bfloat16_speedup(rounds: int = 7) -> float:
    """Time a small CNN's training step in float32 and under bfloat16 autocast, taking turns.

    Args:
        rounds: Of both, after one to warm up.

    Returns:
        Median seconds in float32 over median seconds in bfloat16.
    """
    with torch.random.fork_rng(devices=[]):
        layers = [m for _ in range(3) for m in (nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU())]
        network = nn.Sequential(*layers)
        images = torch.randn(16, 64, 32, 32).contiguous(memory_format=torch.channels_last)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds + 1):
        for bfloat16, times in seconds.items():
            start = time.perf_counter()
            with torch.autocast('cpu', dtype=torch.bfloat16, enabled=bfloat16):
                loss = network(images).float().square().mean()
            loss.backward()
            times.append(time.perf_counter() - start)
    slow, fast = (statistics.median(times[1:]) for times in seconds.values())
    return slow / fast


def _is_detection(cfg: Config) -> bool:
    return cfg.get('default_scope') == 'mmdet'
