"""The network of a run, without what the run has put around it."""

from typing import Any

from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


def network_of(runner: Runner) -> Any:
    """Return the network that is trained, as it is now: without the wrapper of a distributed run."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def learned_network(runner: Runner) -> Any:
    """Return the network that the run is for: with mmengine's ``EMAHook`` the averaged one, as its checkpoints have."""
    averages = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
    return averages[0] if averages else network_of(runner)
