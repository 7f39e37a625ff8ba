"""The UNet decoder that turns what the student saw into features for the whole image."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..registry import MODELS
from ..sparse import PatchMask


@MODELS.register_module()
class UNetDecoder(BaseModule):
    """Fills the gaps with mask tokens and merges all stages from coarse to fine.

    Every stage is projected to its level's width and its hidden positions are replaced by that stage's learned
    mask token. From coarse to fine, it is added to the upsampled level below, followed by a 3x3 convolution block, up
    to the level of the output; stages finer than that are brought down to it by the stride of their projection.

    The paper's abstract states a UNet-style student; the widths, the block and the output level are our choice.

    Args:
        in_channels: Channels of the student's stages, fine to coarse; each has half the resolution of the one before.
        channels: Width of each level from the output's on, fine to coarse: ``len(in_channels) - out_level``.
        out_level: Stage whose resolution the output has; 0 is the finest.
        init_cfg: mmengine initialisation config.
    """

    def __init__(
        self, in_channels: Sequence[int], channels: Sequence[int], out_level: int = 0, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.out_level = out_level
        widths = [channels[0]] * out_level + list(channels)
        sides = [2 ** max(0, out_level - stage) for stage in range(len(in_channels))]
        self.projections = nn.ModuleList(
            nn.Conv2d(before, after, side, stride=side)
            for before, after, side in zip(in_channels, widths, sides, strict=True)
        )
        self.mask_tokens = nn.ParameterList(torch.zeros(1, width, 1, 1) for width in widths)
        for token in self.mask_tokens:
            nn.init.trunc_normal_(token, std=0.02)
        self.blocks = nn.ModuleList(_conv_block(width) for width in channels)
        self.ups = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) for fine, coarse in zip(channels[:-1], channels[1:], strict=True)
        )

    def forward(self, feats: Sequence[Tensor], mask: PatchMask | None) -> Tensor:
        """Decode the stage features.

        Args:
            feats: One ``(B, C_i, H_i, W_i)`` a stage, fine to coarse.
            mask: What the student saw; None when it saw everything.

        Returns:
            ``(B, channels[0], H, W)`` at the resolution of stage ``out_level``.
        """
        skips = [self._skip(stage, feat, mask) for stage, feat in enumerate(feats)]
        skips = [sum(skips[1 : self.out_level + 1], skips[0]), *skips[self.out_level + 1 :]]
        out = self.blocks[-1](skips[-1])
        for level in reversed(range(len(skips) - 1)):
            coarse = self.ups[level](out)  # at the coarse level: a quarter of the work
            out = self.blocks[level](skips[level] + F.interpolate(coarse, size=skips[level].shape[-2:]))
        return out

    def _skip(self, stage: int, feat: Tensor, mask: PatchMask | None) -> Tensor:
        projected = self.projections[stage](feat)
        if mask is None:
            return projected
        visible = mask.grid(*projected.shape[-2:])
        return torch.where(visible, projected, self.mask_tokens[stage].to(projected.dtype))


def _conv_block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
