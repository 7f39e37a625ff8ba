"""Asks a stage of the student, without the decoder, for what the teacher says: of the image, or cell by cell."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import MODELS
from ..sparse import PatchMask
from .losses import TOKEN_DISTANCES, relation_distance


@MODELS.register_module()
class LastStageHead(BaseModule):
    """Compares the last stage with the teacher's mean tokens: of the image, or of each of the stage's cells.

    Targets are LayerNorm'd per token, averaged over their region, then standardised per channel over the batch (running
    statistics in eval mode), as those of :class:`TokenDistillationHead`.

    Args:
        in_channels: Channels of the student's last stage.
        embed_dims: Width of the teacher's tokens.
        distance: 'cosine', 'smooth_l1' or 'mse' of a linear projection of the feature and the target; 'relation'
            compares how alike the regions of a batch are, without a projection (arXiv 1907.09682).
        weight: Weight of the loss.
        regions: 'image' pools feature and tokens over the whole image, 'cell' compares every cell of the stage with
            the tokens at its place; of a stage finer than the tokens, what it has at a token's place.
        init_cfg: mmengine initialisation config.

    Raises:
        ConfigError: Unknown distance or regions.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        distance: Literal['cosine', 'smooth_l1', 'mse', 'relation'] = 'cosine',
        weight: float = 1.0,
        regions: Literal['image', 'cell'] = 'image',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        for name, value, known in (
            ('regions', regions, ['image', 'cell']),
            ('distance', distance, [*TOKEN_DISTANCES, 'relation']),
        ):
            if value not in known:
                raise ConfigError(f"unknown {name} '{value}' of LastStageHead: choose one of {', '.join(known)}")
        self.projection = nn.Identity() if distance == 'relation' else nn.Linear(in_channels, embed_dims)
        self.standardize: Any = nn.BatchNorm1d(embed_dims, affine=False)
        self.regions = regions
        self.distance = distance
        self.weight = weight

    def loss(
        self, feat: Tensor, tokens: Tensor, mask: PatchMask | None, defined: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compare feature and teacher.

        Args:
            feat: The student's last stage, ``(B, in_channels, H, W)``.
            tokens: ``(B, embed_dims, h, w)``; in training, two images or more.
            mask: What the student saw: only that counts. None when it saw everything.
            defined: Boolean ``(B, h, w)``, where the tokens mean something; None = everywhere.

        Returns:
            ``{'loss_last_stage': scalar}``.

        Raises:
            ConfigError: The teacher has another width, or several targets.
        """
        width = self.standardize.num_features
        if not isinstance(tokens, Tensor) or tokens.shape[1] != width:
            found = f'{tokens.shape[1]} wide' if isinstance(tokens, Tensor) else f'{len(tokens)} targets'
            raise ConfigError(f'LastStageHead takes one target of embed_dims={width}; the tokens are {found}')
        size = (1, 1) if self.regions == 'image' else _cells(feat, tokens)
        seen = None if mask is None else mask.grid(*feat.shape[-2:])
        known = None if defined is None else defined[:, None]
        chosen = _covered(seen, size, feat) & _covered(known, size, tokens)
        with torch.no_grad(), torch.autocast(tokens.device.type, enabled=False):
            grid = tokens.to(self.standardize.running_mean.dtype).movedim(1, -1)
            grid = F.layer_norm(grid, (width,)).movedim(-1, 1)
            target = self.standardize(pool(grid, known, size)[chosen])
        prediction = self.projection(pool(feat.to(target.dtype), seen, size)[chosen]).to(target.dtype)
        if self.distance == 'relation':
            value = relation_distance(prediction[None], target[None])
        else:
            value = TOKEN_DISTANCES[self.distance](prediction, target).mean()
        return {'loss_last_stage': self.weight * value}


def pool(grid: Tensor, where: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Average ``(B, C, H, W)`` over each region's positions ``where (B, 1, H, W)``, all if None: ``(B, *size, C)``."""
    if where is None:
        mean = F.adaptive_avg_pool2d(grid, size)
    else:
        share = F.adaptive_avg_pool2d(where.to(grid.dtype), size)
        tiny = torch.finfo(grid.dtype).tiny
        mean = F.adaptive_avg_pool2d(grid.masked_fill(~where, 0), size) / share.clamp(min=tiny)
    return mean.movedim(1, -1)


def _cells(feat: Tensor, tokens: Tensor) -> tuple[int, int]:
    """Return the coarser of two grids, side by side."""
    return min(feat.shape[-2], tokens.shape[-2]), min(feat.shape[-1], tokens.shape[-1])


def _covered(where: Tensor | None, size: tuple[int, int], like: Tensor) -> Tensor:
    """Which regions have a position ``where (B, 1, H, W)``: boolean ``(B, *size)``; all if None."""
    if where is None:
        return torch.ones(len(like), *size, dtype=torch.bool, device=like.device)
    return F.adaptive_max_pool2d(where.float(), size)[:, 0] > 0


class WithLastStageHead:
    """For distilling students: an optional :class:`LastStageHead` beside the head.

    Args:
        last_stage_head: Its config; None for none. ``in_channels`` may be left out: the neck knows them.
        every_stage: Put one with the same options beside it for each earlier stage that the neck reads.

    Raises:
        ConfigError: ``every_stage`` without a ``last_stage_head``.
    """

    neck: Any

    def __init__(
        self, *args: Any, last_stage_head: dict | None = None, every_stage: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if every_stage and last_stage_head is None:
            raise ConfigError('every_stage=True without a last_stage_head: there are no options for the other stages')
        self.last_stage_head: Any = None
        self.earlier_stage_heads: Any = nn.ModuleList()
        if last_stage_head is not None:
            *earlier, last = (projection.in_channels for projection in self.neck.projections)
            self.last_stage_head = MODELS.build({'in_channels': last, **last_stage_head})
            if every_stage:
                heads = ({**last_stage_head, 'in_channels': channels} for channels in earlier)
                self.earlier_stage_heads.extend(map(MODELS.build, heads))

    def stage_losses(
        self, feats: Sequence[Tensor], tokens: Any, mask: PatchMask | None, defined: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the losses of the heads: ``loss_last_stage``, and ``loss_stage0`` and so on of the earlier ones.

        Args:
            feats: Of all stages, fine to coarse.
            tokens: As the others, see :meth:`LastStageHead.loss`.
            mask: As there.
            defined: As there.
        """
        if self.last_stage_head is None:
            return {}
        losses = self.last_stage_head.loss(feats[-1], tokens, mask, defined)
        for stage, (head, feat) in enumerate(zip(self.earlier_stage_heads, feats, strict=False)):
            losses[f'loss_stage{stage}'] = head.loss(feat, tokens, mask, defined)['loss_last_stage']
        return losses
