"""How a model's images are normalised, and whether that is what its backbone was pretrained with."""

import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from ..errors import WeightsError


def normalization_of_config(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the normalisation of images from a config.

    Args:
        config: With ``model.data_preprocessor``, or mmpretrain's top-level ``data_preprocessor``.

    Returns:
        ``mean`` and ``std`` in 0..255, in the order of the channels the network sees, and that order,
        ``channel_order``: ``'rgb'`` or ``'bgr'``. None when the config does not say.
    """
    options = {**(config.get('data_preprocessor') or {})}
    options |= (config.get('model') or {}).get('data_preprocessor') or {}
    if not options.get('mean') or not options.get('std'):
        return None
    rgb = bool(options.get('to_rgb') or options.get('bgr_to_rgb'))
    return {
        'mean': [float(value) for value in options['mean']],
        'std': [float(value) for value in options['std']],
        'channel_order': 'rgb' if rgb else 'bgr',  # OpenMMLab's pipelines load BGR
    }


def normalization_of_model(model: nn.Module) -> dict[str, Any] | None:
    """Read it from the data preprocessor of a model; see :func:`normalization_of_config`."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    if not isinstance(mean, Tensor) or not isinstance(std, Tensor):
        return None
    # the same flag in mmdet and mmseg, and in mmpretrain's classifiers
    rgb = any(getattr(preprocessor, name, False) for name in ('_channel_conversion', 'channel_conversion', 'to_rgb'))
    return {
        'mean': mean.flatten().tolist(),
        'std': std.flatten().tolist(),
        'channel_order': 'rgb' if rgb else 'bgr',
    }


def check_normalization(found: Mapping[str, Any], expected: Mapping[str, Any], source: str) -> None:
    """Compare two normalisations.

    Args:
        found: The model's, as by :func:`normalization_of_model`.
        expected: The one the backbone was pretrained with.
        source: Name of the backbone's file for messages.

    Raises:
        WeightsError: They differ; says how.
    """
    same = found['channel_order'] == expected['channel_order'] and all(
        math.isclose(a, b, rel_tol=1e-3)
        for name in ('mean', 'std')
        for a, b in zip(found[name], expected[name], strict=True)
    )
    if not same:
        swapped = 'red and blue are swapped: ' if found['channel_order'] != expected['channel_order'] else ''
        raise WeightsError(
            f'{source}: {swapped}it was pretrained on images normalised with {_text(expected)}, but this model '
            f"normalises with {_text(found)}. Change mean, std and bgr_to_rgb of the model's data_preprocessor"
        )


def _text(statistics: Mapping[str, Any]) -> str:
    mean, std = (_round(statistics[name]) for name in ('mean', 'std'))
    return f'mean={mean}, std={std} in {statistics["channel_order"].upper()} order'


def _round(values: Sequence[float]) -> list[float]:
    return [round(float(value), 3) for value in values]


def check_when_run(backbone: nn.Module, expected: Mapping[str, Any], source: str) -> None:
    """Compare the normalisation as soon as the model that owns ``backbone`` runs for the first time.

    An initializer gets the backbone alone and cannot see the preprocessor beside it; the owner shows itself when it
    is called. The hook that waits for that goes away then, or when the backbone runs on its own.

    Args:
        backbone: The module that was loaded.
        expected: The normalisation it was pretrained with.
        source: Name of its file for messages.
    """
    waiting = weakref.ref(backbone)

    def look(module: nn.Module, inputs: Any) -> None:
        loaded = waiting()
        owns = loaded is not None and module._modules.get('backbone') is loaded
        if loaded is None or owns or module is loaded:
            handle.remove()
        if owns and (found := normalization_of_model(module)):
            check_normalization(found, expected, source)

    handle = register_module_forward_pre_hook(look)
