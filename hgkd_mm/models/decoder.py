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

    Every stage is projected to its level's width, its hidden positions are replaced by that level's learned
    mask token, and it is added to the upsampled level below, followed by a 3x3 convolution block.

    The paper's abstract states a UNet-style student; the widths and the block are our choice.

    Args:
        in_channels: Channels of the student's stages, fine to coarse.
        channels: Width of each level, fine to coarse; same length.
        init_cfg: mmengine initialisation config.
    """

    def __init__(self, in_channels: Sequence[int], channels: Sequence[int], init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.projections = nn.ModuleList(
            nn.Conv2d(before, after, 1) for before, after in zip(in_channels, channels, strict=True)
        )
        self.mask_tokens = nn.ParameterList(torch.zeros(1, width, 1, 1) for width in channels)
        for token in self.mask_tokens:
            nn.init.trunc_normal_(token, std=0.02)
        self.blocks = nn.ModuleList(_conv_block(width, width) for width in channels)
        self.downs = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) for fine, coarse in zip(channels[:-1], channels[1:], strict=True)
        )

    def forward(self, feats: Sequence[Tensor], mask: PatchMask | None) -> Tensor:
        """Decode the stage features.

        Args:
            feats: One ``(B, C_i, H_i, W_i)`` a stage, fine to coarse.
            mask: What the student saw; None when it saw everything.

        Returns:
            ``(B, channels[0], H_0, W_0)``.
        """
        out = None
        for level in reversed(range(len(feats))):
            merged = self.projections[level](feats[level])
            if mask is not None:
                visible = mask.grid(*merged.shape[-2:])
                merged = torch.where(visible, merged, self.mask_tokens[level].to(merged.dtype))
            if out is not None:
                coarse = self.downs[level](out)  # at the coarse level: a quarter of the work
                merged = merged + F.interpolate(coarse, size=merged.shape[-2:], mode='nearest')
            out = self.blocks[level](merged)
        return out


def _conv_block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )
