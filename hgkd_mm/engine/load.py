"""A trained model and samples of its data, by config and checkpoint."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope

from ..datasets.spaced import evenly_spaced
from ..errors import WeightsError
from ..transfer import load_checkpoint_file, state_dict_of
from .config import check_data, load_config
from .resume import newest_checkpoint


def load_model(
    config: str | os.PathLike, checkpoint: str | os.PathLike, options: dict | None = None
) -> tuple[Config, Any]:
    """Build the model of a config and load a checkpoint strictly.

    Args:
        config: Config file.
        checkpoint: Written by training with it; a work dir stands for its newest one.
        options: As ``--cfg-options``.

    Returns:
        The config and the model, in evaluation mode.

    Raises:
        ConfigError: The config cannot be read.
        WeightsError: The checkpoint is missing or of another model.
    """
    if Path(checkpoint).is_dir():
        checkpoint = newest_checkpoint(checkpoint) or checkpoint
    cfg = load_config(config, options)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    model = MODELS.build(cfg.model)
    weights = state_dict_of(load_checkpoint_file(checkpoint), checkpoint)
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise WeightsError(
            f'{checkpoint} does not fit the model of {config}: {str(error).splitlines()[1].strip()}'
        ) from error
    model.eval()  # mmpretrain's train() returns None, so no chaining
    return cfg, model


def load_samples(cfg: Config, loader: str, indices: Sequence[int] | int) -> tuple[Any, list[dict]]:
    """Build a data set of the config and run its pipeline on some samples.

    Args:
        cfg: The config.
        loader: ``'train_dataloader'`` or ``'val_dataloader'``.
        indices: Sample numbers; taken modulo the size of the data set. Or how many, evenly spaced from first to last.

    Returns:
        The data set and the samples.
    """
    check_data(cfg, [loader])
    dataset = DATASETS.build(cfg[loader].dataset)
    dataset.full_init()
    chosen = evenly_spaced(len(dataset), indices) if isinstance(indices, int) else indices
    np.random.seed(0)  # the masks of pretraining samples
    torch.manual_seed(0)
    return dataset, [dataset[index % len(dataset)] for index in chosen]


def rgb(inputs: torch.Tensor) -> np.ndarray:
    """Turn a pipeline's BGR tensor ``(3, H, W)`` into an RGB image ``(H, W, 3)``."""
    return inputs.flip(0).permute(1, 2, 0).numpy()
