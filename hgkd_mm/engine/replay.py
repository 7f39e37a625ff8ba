"""Repeats a step that a guard stopped, and finds where it first went wrong."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from ..errors import ConfigError, WeightsError
from ..seeding import STEP, seed_everything
from ..transfer import load_checkpoint_file, load_strictly
from ..transfer.batch import unpack
from .common import fit_to_cpus
from .config import add_cfg_options, load_config


class Place(NamedTuple):
    """An operation with finite inputs and another output.

    ``layer`` is the dotted name of the innermost module, ``operation`` torch's name, ``backward`` tells the pass.
    """

    layer: str
    operation: str
    backward: bool


class Replay(NamedTuple):
    """What a repeated step showed.

    ``reason`` is the guard's, ``loss`` the repeated value, ``inputs`` and ``weights`` name what was not finite before
    the step, ``first`` is where finite numbers became others, ``gradients`` the parameters with such a gradient.
    """

    reason: str
    loss: float
    inputs: list[str]
    weights: list[str]
    first: Place | None
    gradients: list[str]


class FirstNonFinite(TorchDispatchMode):
    """Within it, watch every operation until one makes a NaN or infinity out of finite numbers.

    Raises:
        ConfigError: This torch does not know in which layer it computes.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from torch.utils.module_tracker import ModuleTracker
        except ImportError:
            raise ConfigError(
                f'naming the layer needs torch 2.3 or newer, found {torch.__version__}: replay the step in the '
                'environment of `make env`'
            ) from None
        self.tracker = ModuleTracker()
        self.found: Place | None = None

    def __enter__(self) -> 'FirstNonFinite':
        self.tracker.__enter__()
        return super().__enter__()

    def __exit__(self, *arguments: Any) -> None:
        super().__exit__(*arguments)
        self.tracker.__exit__(*arguments)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operation and look at its result."""
        out = func(*args, **(kwargs or {}))
        given = _floats((args, kwargs))
        # what is not made of numbers, as new memory, is not looked at
        if self.found is None and given and 'empty' not in str(func) and _finite(given) and not _finite(_floats(out)):
            inner = max(self.tracker.parents - {'Global'}, key=len, default='')
            self.found = Place(inner.partition('.')[2] or inner, str(func), self.tracker.is_bw)
        return out


def _floats(values: Any) -> list[Tensor]:
    return [v for v in tree_flatten(values)[0] if isinstance(v, Tensor) and v.is_floating_point()]


def _finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def replay(config: str, file: str, options: dict | None = None) -> Replay:
    """Repeat a stopped step on this machine's CPU.

    Args:
        config: Config of the run; never taken from the file, for a config is code.
        file: ``guard_iter_N.pth`` of its work dir.
        options: As ``--cfg-options``.

    Returns:
        What it showed.

    Raises:
        HGKDError: The file or config cannot be read, or they do not belong together.
    """
    stored = load_checkpoint_file(file)
    meta = stored.get('meta')
    if not isinstance(meta, dict) or not {'reason', 'iter', 'seed', 'rank'} <= set(meta) or 'batch' not in stored:
        raise WeightsError(f'{file}: no step of a guard; expected guard_iter_N.pth of a work dir')
    cfg = load_config(config, options)
    cfg.launcher = 'none'
    fit_to_cpus(cfg)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    load_strictly(model, stored['state_dict'], file)
    model.train()
    batch = unpack(stored['batch'])
    inputs = batch['inputs']
    pictures = list(inputs) if isinstance(inputs, list | tuple | Tensor) else []
    broken = [f'inputs {i}' for i, picture in enumerate(pictures) if not _finite(_floats(picture))]
    broken += [
        f'{name} of sample {i}'
        for i, sample in enumerate(batch.get('data_samples') or [])
        for name, value in sample.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not _finite([value])
    ]
    weights = [name for name, value in model.named_parameters() if not _finite([value])]
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    seed_everything(STEP, meta['seed'], meta['iter'], meta['rank'])
    with FirstNonFinite() as watch:
        with wrapper.optim_context(model):
            losses = model(**model.data_preprocessor(batch, True), mode='loss')
        loss, _ = model.parse_losses(losses)
        loss.backward()
    gradients = [n for n, p in model.named_parameters() if p.grad is not None and not _finite([p.grad])]
    return Replay(str(meta['reason']), loss.item(), broken, weights, watch.found, gradients)


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``tools/replay.py``."""
    parser = argparse.ArgumentParser(description='Repeat a step that a guard stopped; name where it first went wrong.')
    parser.add_argument('config', help='config of the run')
    parser.add_argument('file', help='guard_iter_N.pth of its work dir')
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    found = replay(args.config, args.file, args.cfg_options)
    print(f'stopped because {found.reason}; the repeated step has loss {found.loss:g}')
    for what, names in (('the batch', found.inputs), ('the weights', found.weights), ('gradients', found.gradients)):
        if names:
            print(f'not finite in {what}: {", ".join(names[:5])}' + (f', ... ({len(names)})' if names[5:] else ''))
    if found.first is None:
        print('no operation made finite numbers into others')
    else:
        way = 'backward' if found.first.backward else 'forward'
        print(f'first in the {way} pass of {found.first.layer or "the model"}: {found.first.operation}')
