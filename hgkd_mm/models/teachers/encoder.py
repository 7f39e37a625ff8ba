"""Runs a frozen mmpretrain Transformer: all tokens, or those of visible patches alone.

The weights live in mmpretrain's modules; this is their forward pass, with three things added that a teacher needs:
register tokens, hidden tokens left out, and positions (absolute, relative, rotary) at any size.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import BEiTViT, SwinTransformer, VisionTransformer, ViTEVA02
from torch import Tensor, nn

from ...registry import MODELS


@MODELS.register_module()
class RegisterVisionTransformer(VisionTransformer):
    """mmpretrain's ``VisionTransformer`` with DINOv2's register tokens (arXiv 2309.16588), which have no position.

    Args:
        num_registers: Their number.
        **kwargs: See ``VisionTransformer``.
    """

    def __init__(self, num_registers: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.register_tokens = nn.Parameter(torch.zeros(1, num_registers, self.embed_dims))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the last block's patch tokens ``(B, C, h, w)`` of images ``(B, 3, H, W)``."""
        return (to_grid(encode(self, x, {len(self.layers)})[0], self.patch_resolution),)


@dataclass(frozen=True)
class Kept:
    """The tokens that stay: ``index (B, V)`` into the grid; ``valid (B, V)`` is False where it only fills a row up."""

    index: Tensor
    valid: Tensor

    @classmethod
    def from_mask(cls, visible: Tensor) -> 'Kept':
        """Take the True tokens of ``visible (B, h, w)``, in their order."""
        flat = visible.flatten(1)
        longest = int(flat.sum(1).max())
        index = (~flat).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
        return cls(index, flat.gather(1, index))

    def gather(self, tokens: Tensor) -> Tensor:
        """Return the kept of ``tokens (B, N, C)``: ``(B, V, C)``."""
        return tokens.gather(1, self.index[..., None].expand(-1, -1, tokens.shape[2]))

    def scatter(self, tokens: Tensor, background: Tensor) -> Tensor:
        """Put ``tokens (B, V, C)`` back into ``background (B, N, C)``, a copy of it."""
        _, count, width = background.shape
        place = self.index.where(self.valid, count)[..., None].expand(-1, -1, width)
        return F.pad(background, (0, 0, 0, 1)).scatter(1, place, tokens)[:, :count]


def encode(vit: Any, pixels: Tensor, layers: Collection[int], kept: Kept | None = None) -> list[Tensor]:
    """Return the patch tokens after some blocks.

    Args:
        vit: mmpretrain's ``VisionTransformer``, ``BEiTViT`` or ``ViTEVA02``.
        pixels: Normalised images ``(B, 3, H, W)`` of the size it was built for.
        layers: Blocks, 1 = the first. After the last the final norm is applied, if there is one.
        kept: What the Transformer sees; None = everything. Positions stay those of the whole image.

    Returns:
        ``(B, N, C)`` for each of ``layers``, in rising order; ``(B, V, C)`` with ``kept``.
    """
    extra = num_extra_tokens(vit)
    return [tokens[:, extra:] for tokens in encode_all(vit, pixels, layers, kept)]


def num_extra_tokens(vit: Any) -> int:
    """Return how many tokens precede those of patches: CLS and registers."""
    return int(vit.cls_token is not None) + (vit.register_tokens.shape[1] if _has_registers(vit) else 0)


def encode_all(vit: Any, pixels: Tensor, layers: Collection[int], kept: Kept | None = None) -> list[Tensor]:
    """Do as :func:`encode`, with CLS and registers in front: ``(B, E + N, C)``."""
    extra, patches = _embed(vit, pixels)
    bias = None
    if kept is not None:
        patches = kept.gather(patches)
        hidden = F.pad(~kept.valid, (extra.shape[1], 0))  # nobody looks at what fills a row up
        bias = torch.zeros_like(hidden, dtype=pixels.dtype).masked_fill(hidden, -torch.inf)[:, None, None]
    x = torch.cat([extra, patches], dim=1)
    run = _block_runner(vit, extra.shape[1], kept)
    tokens = []
    for number, block in enumerate(vit.layers, 1):
        x = run(block, x, bias)
        if number == len(vit.layers) and vit.final_norm:
            x = vit.ln1(x)
        if number in layers:
            tokens.append(x)
    return tokens


def _has_registers(vit: Any) -> bool:
    return isinstance(vit, RegisterVisionTransformer)


def _embed(vit: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return CLS and registers ``(B, E, C)``, and patches ``(B, N, C)``, with their positions."""
    patches, _ = vit.patch_embed(pixels)
    extra = patches[:, :0]
    if vit.cls_token is not None:
        extra = vit.cls_token.expand(len(patches), -1, -1)
    if vit.pos_embed is not None:
        extra = extra + vit.pos_embed[:, : extra.shape[1]]
        patches = patches + vit.pos_embed[:, extra.shape[1] :]
    if _has_registers(vit):
        extra = torch.cat([extra, vit.register_tokens.expand(len(patches), -1, -1)], dim=1)
    if isinstance(vit, BEiTViT):
        return extra, patches
    return vit.pre_norm(extra), vit.pre_norm(patches)


def _block_runner(vit: Any, extra: int, kept: Kept | None) -> Callable[[Any, Tensor, Tensor | None], Tensor]:
    sequence = None  # place of each token in the whole sequence
    if kept is not None:
        first = torch.arange(extra, device=kept.index.device).expand(len(kept.index), -1)
        sequence = torch.cat([first, kept.index + extra], dim=1)
    if isinstance(vit, BEiTViT):
        shared = vit.rel_pos_bias() if vit.rel_pos_bias is not None else None
        return partial(_beit_block, shared=shared, sequence=sequence)
    if isinstance(vit, ViTEVA02):
        angles = [F.pad(table, (0, 0, extra, 0), value=value) for table, value in _rotations(vit)]
        if sequence is not None:
            angles = [table[sequence][:, None] for table in angles]
        return partial(_eva02_block, angles=angles)
    return _vit_block


def _vit_block(block: Any, x: Tensor, bias: Tensor | None) -> Tensor:
    x = x + block.attn.gamma1(attend(block.attn, block.ln1(x), bias))
    return block.ffn(block.ln2(x), identity=x)


def _beit_block(block: Any, x: Tensor, bias: Tensor | None, shared: Tensor | None, sequence: Tensor | None) -> Tensor:
    relative = shared if shared is not None else _relative_bias(block.attn)
    if relative is not None:
        if sequence is not None:
            relative = relative[:, sequence[:, :, None], sequence[:, None, :]].transpose(0, 1)
        bias = relative if bias is None else relative + bias
        bias = bias if bias.dim() == 4 else bias[None]
    attended = attend(block.attn, block.ln1(x), bias)
    x = x + (attended if block.gamma_1 is None else block.gamma_1 * attended)
    fed = block.ffn(block.ln2(x))
    return x + (fed if block.gamma_2 is None else block.gamma_2 * fed)


def _relative_bias(attn: Any) -> Tensor | None:
    """Return ``(heads, T, T)`` of a block that has its own table of relative positions."""
    if attn.relative_position_bias_table is None:
        return None
    return attn.relative_position_bias_table[attn.relative_position_index].permute(2, 0, 1)


def _eva02_block(block: Any, x: Tensor, bias: Tensor | None, angles: list[Tensor]) -> Tensor:
    x = x + attend(block.attn, block.norm1(x), bias, angles)
    return x + block.mlp(block.norm2(x))


def _rotations(vit: Any) -> list[tuple[Tensor, float]]:
    """Return cosines and sines ``(N, head width)``, each with the value for tokens that have no position."""
    return [(vit.rope.freqs_cos, 1.0), (vit.rope.freqs_sin, 0.0)]


def attend(attn: Any, x: Tensor, bias: Tensor | None, angles: list[Tensor] | None = None) -> Tensor:
    """Multi-head self-attention with an attention module's weights.

    Args:
        attn: mmpretrain's ``MultiheadAttention``, ``BEiTAttention`` or ``AttentionWithRoPE``.
        x: ``(B, T, C)``.
        bias: Added to the attention's logits, broadcast to ``(B, heads, T, T)``.
        angles: Cosines and sines, broadcast to ``(B, heads, T, head width)``, that turn queries and keys.
    """
    batch, length, width = x.shape
    qkv_bias = attn.qkv.bias
    if getattr(attn, 'q_bias', None) is not None:
        qkv_bias = torch.cat([attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias])
    qkv = F.linear(x, attn.qkv.weight, qkv_bias).view(batch, length, 3, attn.num_heads, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    if angles is not None:
        query, key = (_rotate(part, *angles).type_as(value) for part in (query, key))
    if bias is not None:
        bias = bias.to(query.dtype)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return attn.proj(out.transpose(1, 2).reshape(batch, length, width))


def _rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    even, odd = x[..., ::2], x[..., 1::2]
    return x * cosines + torch.stack([-odd, even], dim=-1).flatten(-2) * sines


def encode_stages(swin: SwinTransformer, pixels: Tensor, stages: Collection[int]) -> list[Tensor]:
    """Return a Swin Transformer's feature maps ``(B, C_i, h_i, w_i)`` after ``stages``, 1 = the first, before merging.

    After the last stage the final norm is applied, if there is one.
    """
    x, size = swin.patch_embed(pixels)
    if swin.use_abs_pos_embed:
        x = x + swin.absolute_pos_embed
    maps = []
    last = max(stages)
    for number, stage in enumerate(swin.stages[:last], 1):
        for block in stage.blocks:
            x = block(x, size)
        if number in stages:
            norm = getattr(swin, f'norm{number - 1}', None)
            maps.append(to_grid(x if norm is None else norm(x), size))
        if number < last:
            x, size = stage.downsample(x, size)
    return maps


def to_grid(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """``(B, h*w, C)`` -> ``(B, C, h, w)``."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *size)
