"""What re-estimating BatchNorm is worth when a sparsely trained student becomes dense."""

import copy
import os
from itertools import islice

import torch
from mmengine.runner import Runner

from ..engine.load import load_model
from ..errors import ConfigError
from ..hooks.probe_hook import probe_accuracies
from .batchnorm import reestimate_batchnorm


@torch.no_grad()
def compare_batchnorm(
    config: str | os.PathLike, checkpoint: str | os.PathLike, num_batches: int = 20, options: dict | None = None
) -> dict[str, float]:
    """Probe the dense backbone with the statistics of training and with re-estimated ones.

    Args:
        config: Pretraining config with a ``ProbeHook``, whose data sets are used.
        checkpoint: Its checkpoint, or its work dir.
        num_batches: Batches of whole images for the re-estimation.
        options: As ``--cfg-options``.

    Returns:
        Top-1 in percent, ``'knn, training'``, ``'knn, re-estimated'`` and so for ``'linear'``; ``'mean_shift'`` and
        ``'variance_ratio'``: the
        median over channels of ``|mean' - mean| / std`` and of ``variance' / variance``.

    Raises:
        ConfigError: The config has no ``ProbeHook``.
    """
    cfg, model = load_model(config, checkpoint, options)
    probes = [hook for hook in cfg.get('custom_hooks', []) if hook.type.endswith('ProbeHook')]
    if not probes:
        raise ConfigError(f'{config} has no ProbeHook, whose data sets are needed')
    loaders = [Runner.build_dataloader(dict(probes[0][key])) for key in ('train_dataloader', 'val_dataloader')]
    dense = copy.deepcopy(model.backbone)
    images = (model.data_preprocessor(batch, True)['inputs'] for batch in loaders[0])
    reestimate_batchnorm(dense, islice(images, num_batches))
    result = {}
    for name, backbone in (('training', model.backbone), ('re-estimated', dense)):
        found = probe_accuracies(backbone, model.data_preprocessor, loaders)
        result[f'knn, {name}'], result[f'linear, {name}'] = found['knn_top1'], found['linear_top1']
    before, after = model.backbone.state_dict(), dense.state_dict()
    shifts, ratios = [], []
    for key in before:
        if key.endswith('running_mean'):
            variance = key.replace('mean', 'var')
            shifts.append((after[key] - before[key]).abs() / (before[variance] + 1e-5).sqrt())
            ratios.append(after[variance] / (before[variance] + 1e-12))
    result['mean_shift'] = torch.cat(shifts).median().item()
    result['variance_ratio'] = torch.cat(ratios).median().item()
    return result
