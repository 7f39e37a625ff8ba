"""What the decoder's features are asked for: the teacher's tokens, or the pixels (SparK)."""

from typing import Literal

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import MODELS
from ..sparse import PatchMask
from .losses import TOKEN_DISTANCES, explained_variance, mean_over, token_distribution_divergence


@MODELS.register_module()
class TokenDistillationHead(BaseModule):
    """Projects to the teacher's grid and width, and compares.

    Targets are LayerNorm'd per token, then standardised per channel over the batch (running statistics in eval
    mode): without that, one constant mean vector holds about a quarter of their energy. All of it our choice.

    Args:
        in_channels: Channels of the decoder's output.
        embed_dims: Width of the teacher's tokens.
        distance: 'smooth_l1', 'cosine' or 'mse': how a token's representation is compared.
        masked_weight: Weight of the distance at hidden positions.
        visible_weight: Weight of the distance at visible positions.
        distribution_weight: Weight of the divergence between channel distributions, over all positions.
        temperature: Temperature of those distributions.
        init_cfg: mmengine initialisation config.

    Raises:
        ConfigError: Unknown distance.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        distance: Literal['smooth_l1', 'cosine', 'mse'] = 'smooth_l1',
        masked_weight: float = 1.0,
        visible_weight: float = 1.0,
        distribution_weight: float = 0.0,
        temperature: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if distance not in TOKEN_DISTANCES:
            raise ConfigError(f"unknown token distance '{distance}': choose one of {', '.join(TOKEN_DISTANCES)}")
        self.projection = nn.Conv2d(in_channels, embed_dims, 1)
        self.standardize = nn.BatchNorm1d(embed_dims, affine=False)
        self.distance = distance
        self.masked_weight = masked_weight
        self.visible_weight = visible_weight
        self.distribution_weight = distribution_weight
        self.temperature = temperature

    def predict(self, decoded: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return predicted tokens ``(B, C, h, w)`` on the teacher's grid ``size``."""
        return self.projection(resize(decoded, size))

    def targets(self, tokens: Tensor) -> Tensor:
        """Normalise teacher tokens ``(B, C, h, w)`` to targets ``(B*h*w, C)`` in the parameters' precision."""
        flat = flatten_tokens(tokens).to(self.projection.weight.dtype)
        return self.standardize(F.layer_norm(flat, flat.shape[-1:]))

    def loss(self, decoded: Tensor, tokens: Tensor, mask: PatchMask | None) -> dict[str, Tensor]:
        """Compare prediction and teacher.

        Args:
            decoded: ``(B, in_channels, H, W)``.
            tokens: ``(B, embed_dims, h, w)``.
            mask: What the student saw; None when it saw everything.

        Returns:
            ``loss_*`` terms, and ``explained_variance_*`` for the log.
        """
        size = tokens.shape[-2:]
        with torch.no_grad(), torch.autocast(decoded.device.type, enabled=False):
            target = self.targets(tokens)
        prediction = flatten_tokens(self.predict(decoded, size)).to(target.dtype)
        seen = torch.ones(len(target), dtype=torch.bool, device=target.device)
        if mask is not None:
            seen = F.interpolate(mask.visible[:, None].float(), size, mode='nearest-exact').bool().flatten()
        parts = {'visible': (seen, self.visible_weight)}
        if mask is not None:
            parts['masked'] = (~seen, self.masked_weight)

        distances = TOKEN_DISTANCES[self.distance](prediction, target)
        out = {}
        for name, (where, weight) in parts.items():
            if weight:
                out[f'loss_{name}'] = weight * mean_over(distances, where)
            with torch.no_grad():
                out[f'explained_variance_{name}'] = explained_variance(prediction, target, where)
        if self.distribution_weight:
            divergence = token_distribution_divergence(prediction, target, self.temperature).mean()
            out['loss_distribution'] = self.distribution_weight * divergence
        return out


@MODELS.register_module()
class PixelReconstructionHead(BaseModule):
    """SparK's target: the pixels of hidden patches, normalised per patch (arXiv 2301.03580, section 3).

    Args:
        in_channels: Channels of the decoder's output.
        stride: Stride of the decoder's output; each position predicts ``stride x stride`` pixels.
        patch_size: Side of a mask patch in pixels.
        init_cfg: mmengine initialisation config.
    """

    def __init__(self, in_channels: int, stride: int = 4, patch_size: int = 32, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.projection = nn.Conv2d(in_channels, 3 * stride**2, 1)
        self.stride = stride
        self.patch_size = patch_size

    def loss(self, decoded: Tensor, images: Tensor, mask: PatchMask) -> dict[str, Tensor]:
        """Mean squared error over hidden patches.

        Args:
            decoded: ``(B, in_channels, H/stride, W/stride)``.
            images: ``(B, 3, H, W)``, normalised.
            mask: What the student saw.

        Returns:
            ``{'loss': scalar}``.
        """
        prediction = F.pixel_shuffle(self.projection(decoded), self.stride).float()
        prediction, target = (patchify(x, self.patch_size) for x in (prediction, images))
        mean, variance = target.mean(-1, keepdim=True), target.var(-1, keepdim=True, unbiased=False)
        target = (target - mean) / (variance + 1e-6).sqrt()
        error = (prediction - target).square().mean(-1).flatten()
        return {'loss': mean_over(error, ~mask.visible.flatten())}


def resize(grid: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bring ``(B, C, H, W)`` to ``size``: averaged when it shrinks, bilinear when it grows."""
    if grid.shape[-2:] == tuple(size):
        return grid
    if grid.shape[-2] >= size[0] and grid.shape[-1] >= size[1]:
        return F.adaptive_avg_pool2d(grid, (size[0], size[1]))
    return F.interpolate(grid, size=size, mode='bilinear', align_corners=False)


def flatten_tokens(grid: Tensor) -> Tensor:
    """``(B, C, h, w)`` -> ``(B*h*w, C)``."""
    return grid.permute(0, 2, 3, 1).flatten(0, 2)


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """``(B, 3, H, W)`` -> ``(B, H/P, W/P, 3*P*P)``."""
    batch, channels, height, width = images.shape
    tiles = images.reshape(batch, channels, height // patch_size, patch_size, width // patch_size, patch_size)
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(3)
