"""What a full-scale training costs in arithmetic, and so in hours of a GPU."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.models import VisionTransformer

from ..datasets.checks.imagenet import IMAGES
from ..datasets.transforms import random_patch_mask
from ..engine.config import load_config
from ..errors import ConfigError, RecordError
from ..leaderboard.names import markdown_table
from ..registry import MODELS
from ..seeding import seeded
from ..speed.macs import count_macs
from ..speed.step import LIVE

#: Forward and backward pass together, in forward passes: the backward one computes two products for each.
TRAINING = 3


class Arithmetic(NamedTuple):
    """Images that are trained on, and 1e9 multiply-accumulates of one of them: forward passes of each part."""

    images: int
    student: float
    decoder: float
    teacher: float

    @property
    def gigaflops(self) -> float:
        """Operations of training on one image, in 1e9; a multiply-accumulate is two."""
        return 2 * (TRAINING * (self.student + self.decoder) + self.teacher)

    @property
    def exaflops(self) -> float:
        """Operations of the whole training, in 1e18."""
        return self.gigaflops * self.images / 1e9

    def hours(self, teraflops: float) -> float:
        """Return hours of a GPU that sustains so many 1e12 operations a second."""
        return self.exaflops * 1e6 / teraflops / 3600


def vit_gmacs(arch: str, tokens: int, patch_size: int) -> float:
    """Count a Vision Transformer's multiply-accumulates of one image, in 1e9.

    Args:
        arch: One of mmpretrain's ``VisionTransformer.arch_zoo``.
        tokens: Number of patches.
        patch_size: Side of a patch in pixels.

    Raises:
        ConfigError: There is no such architecture.
    """
    if arch not in VisionTransformer.arch_zoo:
        raise ConfigError(f'vit_gmacs: no architecture {arch!r}; there are {", ".join(VisionTransformer.arch_zoo)}')
    shape = VisionTransformer.arch_zoo[arch]
    width, length = shape['embed_dims'], tokens + 1
    layer = length * (4 * width**2 + 2 * width * shape['feedforward_channels']) + 2 * length**2 * width
    return (shape['num_layers'] * layer + tokens * 3 * patch_size**2 * width) / 1e9


@torch.no_grad()
def pretraining_cost(cfg: Config, teacher_arch: str, teacher_patch: int, num_masks: int = 8) -> Arithmetic:
    """Count a masked distillation on ImageNet.

    Args:
        cfg: Config of the pretraining.
        teacher_arch: See :func:`vit_gmacs`; a config names no more than the file of the teacher's weights.
        teacher_patch: Side of the teacher's patches in pixels.
        num_masks: Masks to average over: halos differ.
    """
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.eval()
    side = cfg.img_size // cfg.patch_size
    with seeded(0):
        masks = [random_patch_mask(side, side, cfg.mask_ratio) for _ in range(num_masks)]
    backbone = MODELS.build(cfg.model.backbone)
    _, student = count_macs(backbone, torch.from_numpy(np.stack(masks)), cfg.patch_size)
    backbone.eval()  # returns None in mmpretrain
    feats = backbone(torch.zeros(1, 3, cfg.img_size, cfg.img_size))
    analyzer = FlopAnalyzer(model.neck, (feats, None)).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    grid = cfg.teacher_img_size // teacher_patch
    projection = model.head.projection.weight.numel() * grid**2
    return Arithmetic(
        images=IMAGES['train'] * cfg.train_cfg.max_epochs,
        student=student / num_masks / 1e9,
        decoder=(analyzer.total() + projection) / 1e9,
        teacher=vit_gmacs(teacher_arch, grid**2, teacher_patch),
    )


def finetuning_cost(cfg: Config) -> Arithmetic:
    """Count a supervised training of a dense classifier's backbone on ImageNet, at the config's resolution."""
    init_default_scope(cfg.default_scope)
    backbone = MODELS.build(cfg.model.backbone)
    (img_size,) = (hook.protocol.resolution for hook in cfg.custom_hooks if hook.type.endswith('ResultHook'))
    dense, _ = count_macs(backbone, torch.ones(1, img_size // 32, img_size // 32, dtype=torch.bool))
    return Arithmetic(IMAGES['train'] * cfg.train_cfg.max_epochs, dense / 1e9, 0.0, 0.0)


def measured_teraflops(cfg: Config, cost: Arithmetic, measured: str | os.PathLike) -> tuple[float, str]:
    """Return the 1e12 operations a second that a measured step of a pretraining sustained, and where it ran.

    Args:
        cfg: Config of the pretraining; its student is the ResNet-50 of :func:`hgkd_mm.speed.step.measure_step`.
        cost: Its arithmetic.
        measured: JSON of ``tools/speed.py step``.

    Raises:
        RecordError: It is no such file, or of another student, image size or number of visible patches.
    """
    try:
        content = json.loads(Path(measured).read_text())
        setting, machine = content['setting'], content['machine']
        where = machine.get('gpu') or f'{setting["threads"]} threads of {machine["cpu"]}'
        (images_per_s,) = (row['images_per_s'] for row in content['rows'] if row['method'] == LIVE)
        found = {name: setting[name] for name in ('model', 'img_size', 'visible')}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f'{measured}: expected what `tools/speed.py step --json` writes: {error!r}') from error
    patches = (cfg.img_size // cfg.patch_size) ** 2
    expected = dict(model='ResNet-50', img_size=cfg.img_size, visible=round(patches * (1 - cfg.mask_ratio)))
    if found != expected:
        raise RecordError(f'{measured}: measured {found}; the config has {expected}')
    return images_per_s * cost.gigaflops / 1e3, where


def render_costs(
    pretraining: str | os.PathLike,
    finetuning: str | os.PathLike,
    teacher: tuple[str, int],
    measured: str | os.PathLike,
    sustained: tuple = (100, 300),
) -> str:
    """Write a table of both trainings.

    Args:
        pretraining: Config.
        finetuning: Config.
        teacher: Its architecture, see :func:`vit_gmacs`, and the side of its patches in pixels.
        measured: See :func:`measured_teraflops`.
        sustained: Speeds to give hours for, in 1e12 operations a second.
    """
    cfg = load_config(pretraining)
    costs = {
        str(pretraining): pretraining_cost(cfg, *teacher),
        str(finetuning): finetuning_cost(load_config(finetuning)),
    }
    speed, where = measured_teraflops(cfg, costs[str(pretraining)], measured)
    head = ['Config', 'Images', 'Student', 'Decoder', 'Teacher', '1e18 operations']
    head += [f'Hours at {speed:.2g} TFLOP/s: measured, {where}']
    head += [f'GPU hours at {assumed} TFLOP/s: assumed' for assumed in sustained]
    lines = [
        [
            f'`{path}`',
            f'{cost.images:,}',
            *(f'{part:.2f} G' if part else '' for part in (cost.student, cost.decoder, cost.teacher)),
            f'{cost.exaflops:.1f}',
            *(f'{cost.hours(teraflops):,.0f}' for teraflops in (speed, *sustained)),
        ]
        for path, cost in costs.items()
    ]
    return markdown_table(head, lines)
