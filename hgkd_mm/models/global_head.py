"""Asks the student's last stage, without the decoder, for what the teacher says about the whole image."""

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
class GlobalTokenHead(BaseModule):
    """Compares the pooled last stage with the teacher's mean token.

    Targets are LayerNorm'd per token, averaged over the image, then standardised per channel over the batch (running
    statistics in eval mode), as those of :class:`TokenDistillationHead`.

    Args:
        in_channels: Channels of the student's last stage.
        embed_dims: Width of the teacher's tokens.
        distance: 'cosine', 'smooth_l1' or 'mse' of a linear projection of the feature and the target; 'relation'
            compares how alike the images of a batch are, without a projection (arXiv 1907.09682).
        weight: Weight of the loss.
        init_cfg: mmengine initialisation config.

    Raises:
        ConfigError: Unknown distance.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        distance: Literal['cosine', 'smooth_l1', 'mse', 'relation'] = 'cosine',
        weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        known = [*TOKEN_DISTANCES, 'relation']
        if distance not in known:
            raise ConfigError(f"unknown distance '{distance}' of GlobalTokenHead: choose one of {', '.join(known)}")
        self.projection = nn.Identity() if distance == 'relation' else nn.Linear(in_channels, embed_dims)
        self.standardize: Any = nn.BatchNorm1d(embed_dims, affine=False)
        self.distance = distance
        self.weight = weight

    def loss(
        self, feat: Tensor, tokens: Tensor, mask: PatchMask | None, defined: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compare feature and teacher.

        Args:
            feat: The student's last stage, ``(B, in_channels, H, W)``.
            tokens: ``(B, embed_dims, h, w)``; in training, two images or more.
            mask: What the student saw: only visible positions are pooled. None when it saw everything.
            defined: Boolean ``(B, h, w)``, where the tokens mean something; None = everywhere.

        Returns:
            ``{'loss_global': scalar}``.

        Raises:
            ConfigError: The teacher has another width, or several targets.
        """
        width = self.standardize.num_features
        if not isinstance(tokens, Tensor) or tokens.shape[1] != width:
            found = f'{tokens.shape[1]} wide' if isinstance(tokens, Tensor) else f'{len(tokens)} targets'
            raise ConfigError(f'GlobalTokenHead takes one target of embed_dims={width}; the tokens are {found}')
        with torch.no_grad(), torch.autocast(tokens.device.type, enabled=False):
            grid = tokens.to(self.standardize.running_mean.dtype).movedim(1, -1)
            grid = F.layer_norm(grid, (width,)).movedim(-1, 1)
            target = self.standardize(pool(grid, None if defined is None else defined[:, None]))
        seen = None if mask is None else mask.grid(*feat.shape[-2:])
        prediction = self.projection(pool(feat.to(target.dtype), seen)).to(target.dtype)
        if self.distance == 'relation':
            value = relation_distance(prediction[None], target[None])
        else:
            value = TOKEN_DISTANCES[self.distance](prediction, target).mean()
        return {'loss_global': self.weight * value}


def pool(grid: Tensor, where: Tensor | None) -> Tensor:
    """Average ``(B, C, H, W)`` over the positions ``where (B, 1, H, W)``, all if None: ``(B, C)``."""
    if where is None:
        return grid.mean((2, 3))
    return grid.masked_fill(~where, 0).sum((2, 3)) / where.sum((2, 3)).clamp(min=1)


class WithGlobalHead:
    """For distilling students: an optional :class:`GlobalTokenHead` beside the head.

    Args:
        global_head: Its config; None for none.
    """

    def __init__(self, *args: Any, global_head: dict | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.global_head: Any = None if global_head is None else MODELS.build(global_head)

    def global_loss(
        self, feat: Tensor, tokens: Any, mask: PatchMask | None, defined: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the loss of the global head; arguments are those of :meth:`GlobalTokenHead.loss`."""
        return {} if self.global_head is None else self.global_head.loss(feat, tokens, mask, defined)
