"""Teacher and student tokens side by side, as PCA colours."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from torch import Tensor

from ..engine.load import load_model, load_samples, rgb
from ..errors import ConfigError
from ..models.teachers.group import TeacherGroup
from .figure import picture_grid, save, show


def pca_colours(reference: Tensor, *others: Tensor) -> list[np.ndarray]:
    """Colour tokens by the three principal directions of ``reference``.

    Args:
        reference: ``(B, C, h, w)``: fixes directions and range of the colours.
        *others: More of the same shape, in the same colours.

    Returns:
        For each argument, RGB in ``[0, 1]``, ``(B, h, w, 3)``.
    """
    flat = reference.permute(0, 2, 3, 1).flatten(0, 2).double()
    mean = flat.mean(0)
    _, _, directions = torch.linalg.svd(flat - mean, full_matrices=False)
    # A direction's sign is arbitrary: the largest entry shall be positive, so that pictures repeat.
    largest = directions[:3].gather(1, directions[:3].abs().argmax(1, keepdim=True))
    basis = (directions[:3] * largest.sign()).T
    projected = (flat - mean) @ basis
    low, high = projected.quantile(torch.tensor([0.02, 0.98], dtype=torch.double), dim=0)
    coloured = []
    for tokens in (reference, *others):
        values = (tokens.permute(0, 2, 3, 1).double() - mean) @ basis
        coloured.append(((values - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).numpy())
    return coloured


def unseen_dataset(cfg: Config) -> ConfigDict:
    """Return the config of the data set of unseen images, with masks drawn as in training.

    Raises:
        ConfigError: The config has no DiagnosticsHook.
    """
    hooks = [hook for hook in cfg.get('custom_hooks', []) if str(hook.type).endswith('DiagnosticsHook')]
    if not hooks:
        raise ConfigError('the config has no DiagnosticsHook, which names unseen images')
    dataset = copy.deepcopy(hooks[0].dataloader.dataset)
    masks_and_packing = cfg.train_dataloader.dataset.pipeline[-2:]
    dataset.pipeline = [*dataset.pipeline[:-1], *masks_and_packing]
    return dataset


@torch.no_grad()
def draw_tokens(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    options: dict | None = None,
    indices: Sequence[int] | None = None,
    unseen: bool = False,
) -> Path:
    """Draw image, what the student saw, the teacher's tokens and the student's prediction of them.

    Args:
        config: Config of an H-GKD pretraining run.
        checkpoint: Its checkpoint.
        out: PNG to write.
        options: As ``--cfg-options``.
        indices: Samples to draw, one a row. None for six: the first; evenly spaced ones of unseen images, which are
            sorted by class.
        unseen: Take them from the images of the config's DiagnosticsHook, which are not trained on.

    Raises:
        ConfigError: The config has no teacher, or no unseen images.
    """
    cfg, model = load_model(config, checkpoint, options)
    teachers = [hook.teacher for hook in cfg.get('custom_hooks', []) if 'teacher' in hook]
    if not teachers:
        raise ConfigError(f'{config} has no TeacherHook: token maps are those of H-GKD runs')
    if unseen:
        cfg.train_dataloader.dataset = unseen_dataset(cfg)
    _, samples = load_samples(cfg, 'train_dataloader', indices or (6 if unseen else range(6)))
    batch = dict(inputs=torch.stack([s['inputs'] for s in samples]), data_samples=[s['data_samples'] for s in samples])
    teacher = TeacherGroup(teachers[0])
    if not teacher.is_single or teacher.teachers[0].target != 'full':
        raise ConfigError(f"{config}: token maps are drawn of one teacher with one layer and target='full'")
    (tokens,) = teacher(batch['inputs'])
    inputs = model.data_preprocessor(batch, False)['inputs']
    mask = model.mask_of(inputs, batch['data_samples'])
    decoded = model.neck(model.sparse_forward(inputs, mask), mask)
    predicted = model.head.predict(decoded, tokens.shape[-2:])
    batch_size, _, height, width = tokens.shape
    target = model.head.targets(tokens).view(batch_size, height, width, -1).permute(0, 3, 1, 2)
    teacher_rgb, student_rgb = pca_colours(target, predicted)

    figure, axes = picture_grid(len(samples), ['image', 'student sees', 'teacher tokens', 'student predicts'])
    visible = mask.grid(*inputs.shape[-2:])[:, 0].numpy()
    for row, sample, seen, teacher, student in zip(axes, samples, visible, teacher_rgb, student_rgb, strict=True):
        image = rgb(sample['inputs'])
        show(row[0], image)
        show(row[1], np.where(seen[..., None], image, 127))
        show(row[2], teacher, image.shape[:2])
        show(row[3], student, image.shape[:2])
    return save(figure, out)
