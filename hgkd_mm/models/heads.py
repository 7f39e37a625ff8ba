"""What the decoder's features are asked for: the teacher's tokens, or the pixels (SparK)."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import MODELS
from ..sparse import PatchMask
from .losses import (
    TOKEN_DISTANCES,
    explained_variance,
    mean_over,
    relation_distance,
    token_distribution_divergence,
)
from .teachers.visibility import visible_tokens


@MODELS.register_module()
class TokenDistillationHead(BaseModule):
    """Projects to the teacher's grid and width, and compares.

    Targets are LayerNorm'd per token, then standardised per channel over the batch (running statistics in eval
    mode): without that, one constant mean vector holds about a quarter of their energy. All of it our choice.
    LayerNorm alone is what feature distillation (arXiv 2205.14141) calls whitening.

    Args:
        in_channels: Channels of the decoder's output.
        embed_dims: Width of the teacher's tokens.
        distance: 'smooth_l1', 'cosine' or 'mse': how a token's representation is compared.
        masked_weight: Weight of the distance at hidden positions.
        visible_weight: Weight of the distance at visible positions.
        distribution_weight: Weight of the divergence between channel distributions, over the positions whose distance
            has a weight; over all if neither has.
        temperature: Temperature of those distributions.
        relation_weight: Weight of :func:`~hgkd_mm.models.losses.relation_distance` between the tokens of an image, over
            all positions.
        standardize: False leaves it at LayerNorm.
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
        relation_weight: float = 0.0,
        standardize: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if distance not in TOKEN_DISTANCES:
            raise ConfigError(f"unknown token distance '{distance}': choose one of {', '.join(TOKEN_DISTANCES)}")
        self.projection = nn.Conv2d(in_channels, embed_dims, 1)
        self.standardize = nn.BatchNorm1d(embed_dims, affine=False) if standardize else nn.Identity()
        self.distance = distance
        self.masked_weight = masked_weight
        self.visible_weight = visible_weight
        self.distribution_weight = distribution_weight
        self.temperature = temperature
        self.relation_weight = relation_weight

    def predict(self, decoded: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return predicted tokens ``(B, C, h, w)`` on the teacher's grid ``size``."""
        return self.projection(resize(decoded, size))

    def targets(self, tokens: Tensor, defined: Tensor | None = None) -> Tensor:
        """Normalise teacher tokens ``(B, C, h, w)`` to targets ``(N, C)`` in the parameters' precision.

        ``N`` is ``B*h*w``, or the number of True places in ``defined`` ``(B, h, w)``: only they count in statistics.
        """
        flat = _chosen(flatten_tokens(tokens), defined).to(self.projection.weight.dtype)
        return self.standardize(F.layer_norm(flat, flat.shape[-1:]))

    def loss(
        self, decoded: Tensor, tokens: Tensor, mask: PatchMask | None, defined: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compare prediction and teacher.

        Args:
            decoded: ``(B, in_channels, H, W)``.
            tokens: ``(B, embed_dims, h, w)``. A token counts as visible if the student saw all of its area.
            mask: What the student saw; None when it saw everything.
            defined: Boolean ``(B, h, w)``, where the tokens mean something; None = everywhere.

        Returns:
            ``loss_*`` terms, and ``explained_variance_*`` for the log.

        Raises:
            ConfigError: The teacher has another width, or several targets.
        """
        self._check(tokens)
        size = tokens.shape[-2:]
        with torch.no_grad(), torch.autocast(decoded.device.type, enabled=False):
            target = self.targets(tokens, defined)
        prediction = _chosen(flatten_tokens(self.predict(decoded, size)), defined).to(target.dtype)
        seen = torch.ones(len(target), dtype=torch.bool, device=target.device)
        if mask is not None:
            seen = _chosen(visible_tokens(mask.visible, (size[0], size[1])).flatten(), defined)
        parts = {'visible': (seen, self.visible_weight)}
        if mask is not None:
            parts['masked'] = (~seen, self.masked_weight)
        if defined is not None:  # of a teacher that says nothing about the one or the other
            parts = {name: part for name, part in parts.items() if part[0].any()}

        distances = TOKEN_DISTANCES[self.distance](prediction, target)
        out = {}
        for name, (where, weight) in parts.items():
            if weight:
                out[f'loss_{name}'] = weight * mean_over(distances, where)
            with torch.no_grad():
                out[f'explained_variance_{name}'] = explained_variance(prediction, target, where)
        if self.distribution_weight:
            divergence = token_distribution_divergence(prediction, target, self.temperature)
            asked = [where for where, weight in parts.values() if weight] or [torch.ones_like(seen)]
            out['loss_distribution'] = self.distribution_weight * mean_over(divergence, torch.stack(asked).any(0))
        if self.relation_weight:
            of_images = [_by_image(values, len(tokens), defined) for values in (prediction, target)]
            known = None if defined is None else defined.flatten(1)
            relation = relation_distance(of_images[0], of_images[1], known)
            out['loss_relation'] = self.relation_weight * relation
        return out

    def _check(self, tokens: Tensor) -> None:
        if not isinstance(tokens, Tensor):
            raise ConfigError(
                f'{len(tokens)} targets for one TokenDistillationHead: put one for each into '
                "dict(type='hgkd_mm.SeveralTargetsHead', heads=[...])"
            )
        if tokens.shape[1] != self.projection.out_channels:
            raise ConfigError(
                f"the teacher's tokens are {tokens.shape[1]} wide, the head has embed_dims="
                f'{self.projection.out_channels}'
            )


@MODELS.register_module()
class SeveralTargetsHead(BaseModule):
    """Several targets at once: layers of one teacher, or of several teachers. Their losses add up.

    Args:
        heads: Config of a :class:`TokenDistillationHead` for each target: those of the first teacher first, its layers
            in rising order.
        init_cfg: mmengine initialisation config.
    """

    def __init__(self, heads: list[dict], init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.heads: Any = nn.ModuleList(MODELS.build(head) for head in heads)

    def loss(
        self,
        decoded: Tensor,
        tokens: list[Tensor],
        mask: PatchMask | None,
        defined: list[Tensor | None] | None = None,
    ) -> dict[str, Tensor]:
        """Compare prediction and each target; arguments are those of the heads, one of a kind a target.

        Returns:
            The terms of all heads, with the number of the target behind their name: ``loss_masked_0``.

        Raises:
            ConfigError: There are not as many targets as heads.
        """
        tokens = [tokens] if isinstance(tokens, Tensor) else tokens
        if len(tokens) != len(self.heads):
            raise ConfigError(f'{len(tokens)} targets for {len(self.heads)} heads of SeveralTargetsHead: one for each')
        out: dict[str, Tensor] = {}
        for number, (head, part) in enumerate(zip(self.heads, tokens, strict=True)):
            terms = head.loss(decoded, part, mask, defined[number] if defined else None)
            out |= {f'{name}_{number}': term for name, term in terms.items()}
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


def _chosen(values: Tensor, where: Tensor | None) -> Tensor:
    """``(B*h*w, ...)`` -> the entries where ``where (B, h, w)`` is True; all if it is None."""
    return values if where is None else values[where.flatten()]


def _by_image(values: Tensor, batch: int, where: Tensor | None) -> Tensor:
    """Undo :func:`_chosen`: ``(B, h*w, C)``, zero where nothing was chosen."""
    if where is None:
        return values.view(batch, -1, values.shape[-1])
    grid = values.new_zeros(*where.flatten(1).shape, values.shape[-1])
    return grid.masked_scatter(where.flatten(1)[..., None], values)


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """``(B, 3, H, W)`` -> ``(B, H/P, W/P, 3*P*P)``."""
    batch, channels, height, width = images.shape
    tiles = images.reshape(batch, channels, height // patch_size, patch_size, width // patch_size, patch_size)
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(3)
