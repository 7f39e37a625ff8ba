"""Detections and segmentations beside the ground truth."""

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from mmengine.dataset import pseudo_collate

from ..engine.load import load_model, load_samples, rgb
from .figure import picture_grid, save, show


def palette(number: int) -> np.ndarray:
    """Return ``number`` distinct RGB colours in ``[0, 1]``."""
    return np.array([matplotlib.colormaps['tab20'](i % 20)[:3] for i in range(number)])


@torch.no_grad()
def draw_detections(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    options: dict | None = None,
    indices: Sequence[int] = range(6),
    threshold: float = 0.3,
) -> Path:
    """Draw a detector's boxes and masks beside the ground truth of validation images.

    Args:
        config: Detection config.
        checkpoint: Its checkpoint.
        out: PNG to write.
        options: As ``--cfg-options``.
        indices: Validation samples to draw, one a row.
        threshold: Lowest score drawn.
    """
    cfg, model = load_model(config, checkpoint, options)
    dataset, samples = load_samples(cfg, 'val_dataloader', indices)
    results = model.test_step(pseudo_collate(samples))
    classes, colours = dataset.metainfo['classes'], palette(len(dataset.metainfo['classes']))
    figure, axes = picture_grid(len(samples), ['image', 'ground truth', f'prediction (score > {threshold})'], side=2.4)
    for row, index, sample, result in zip(axes, indices, samples, results, strict=True):
        image = rgb(sample['inputs'])
        show(row[0], image)
        truth = [
            (item['bbox'], _decode(item['mask'], image.shape), item['bbox_label'], None)
            for item in dataset.get_data_info(index % len(dataset))['instances']
        ]
        predicted = result.pred_instances.numpy()
        found = [
            (box, mask, label, score)
            for box, mask, label, score in zip(
                predicted.bboxes, predicted.masks, predicted.labels, predicted.scores, strict=True
            )
            if score > threshold
        ]
        for axis, instances in ((row[1], truth), (row[2], found)):
            _draw_instances(axis, image, instances, classes, colours)
    return save(figure, out)


def _decode(rle: dict, shape: tuple[int, ...]) -> np.ndarray:
    from pycocotools import mask as coco_mask

    if isinstance(rle.get('counts'), list):
        rle = coco_mask.frPyObjects(rle, *shape[:2])
    return coco_mask.decode(rle).astype(bool)


def _draw_instances(
    axis: Axes, image: np.ndarray, instances: list, classes: Sequence[str], colours: np.ndarray
) -> None:
    blended = image.astype(float) / 255
    for _, mask, label, _ in instances:
        blended[mask] = 0.5 * blended[mask] + 0.5 * colours[label]
    show(axis, blended)
    for (left, top, right, bottom), _, label, score in instances:
        axis.add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colours[label], linewidth=1.2)
        )
        text = classes[label] if score is None else f'{classes[label]} {score:.2f}'
        axis.text(
            left + 1,
            top + 1,
            text,
            fontsize=5,
            va='top',
            color='white',
            bbox=dict(facecolor=colours[label], pad=0.8, lw=0),
        )


@torch.no_grad()
def draw_segmentations(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    options: dict | None = None,
    indices: Sequence[int] = range(6),
) -> Path:
    """Draw a segmentor's label maps beside the ground truth of validation images.

    Args:
        config: Segmentation config.
        checkpoint: Its checkpoint.
        out: PNG to write.
        options: As ``--cfg-options``.
        indices: Validation samples to draw, one a row.
    """
    cfg, model = load_model(config, checkpoint, options)
    dataset, samples = load_samples(cfg, 'val_dataloader', indices)
    results = model.test_step(pseudo_collate(samples))
    classes = dataset.metainfo['classes']
    colours = np.vstack([[[0.12, 0.12, 0.12]], palette(len(classes) - 1)])
    figure, axes = picture_grid(len(samples), ['image', 'ground truth', 'prediction'], side=2.0)
    present = set()
    for row, sample, result in zip(axes, samples, results, strict=True):
        show(row[0], rgb(sample['inputs']))
        truth = sample['data_samples'].gt_sem_seg.data[0].numpy()
        predicted = result.pred_sem_seg.data[0].cpu().numpy()
        show(row[1], colours[np.where(truth < len(classes), truth, 0)])
        show(row[2], colours[predicted])
        present |= set(np.unique(truth)) | set(np.unique(predicted))
    handles = [Rectangle((0, 0), 1, 1, color=colours[i], label=classes[i]) for i in sorted(present) if i < len(classes)]
    figure.legend(handles=handles, loc='outside lower center', ncols=4, fontsize=7, frameon=False)
    return save(figure, out)
