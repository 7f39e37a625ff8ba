"""Plain Vision Transformers: MAE, iBOT, DINO, DINOv2 with and without registers, CLIP."""

import torch

from ....errors import WeightsError
from .family import CLIP, IMAGENET, Description, Family, Hints, State, depth_of, grid_side, num_heads

_DECODER_WIDTH_OF_A_HEAD = 32  # MAE's: 512 wide with 16 heads

_BLOCK = [
    (r'norm([12])\.(weight|bias)', r'ln\1.\2'),
    (r'attn\.(qkv|proj)\.(weight|bias)', r'attn.\1.\2'),
    (r'mlp\.fc1\.(weight|bias)', r'ffn.layers.0.0.\1'),
    (r'mlp\.fc2\.(weight|bias)', r'ffn.layers.1.\1'),
    (r'ls1\.gamma', r'attn.gamma1.weight'),
    (r'ls2\.gamma', r'ffn.gamma2.weight'),
]


def _blocks(theirs: str, ours: str) -> list[tuple[str, str]]:
    """Put a block's names behind the names of all blocks."""
    shifted = [(old, _shift(new)) for old, new in _BLOCK]
    return [(rf'{theirs}\.(\d+)\.{old}', rf'{ours}.\1.{new}') for old, new in shifted]


def _shift(replacement: str) -> str:
    return replacement.replace(r'\2', r'\3').replace(r'\1', r'\2')


_NAMES = [
    (r'(cls_token|pos_embed|register_tokens)', r'\1'),
    (r'patch_embed\.proj\.(weight|bias)', r'patch_embed.projection.\1'),
    (r'norm_pre\.(weight|bias)', r'pre_norm.\1'),
    (r'norm\.(weight|bias)', r'ln1.\1'),
    *_blocks('blocks', 'layers'),
    # mmpretrain's MAEPretrainDecoder
    (r'(decoder_embed\.(?:weight|bias)|decoder_pos_embed)', r'decoder.\1'),
    (r'decoder_mask_token', r'decoder.mask_token'),
    (r'decoder_norm\.(weight|bias)', r'decoder.ln1.\1'),
    *_blocks('decoder_blocks', r'decoder.decoder_blocks'),
]
_DROPPED = [
    (r'decoder_pred\..*', 'predicts pixels from the decoder'),
    (r'(mask_token|masked_embed)', 'stands for hidden patches in pretraining only'),
    (r'(fc_norm|attn_pool|pre_logits)\..*', 'works on a pooled vector'),
    (r'(head|head_dist|dist_token|last_layer).*', 'head'),
]


def _prepare(state: State) -> State:
    state = dict(state)
    if 'decoder_embed.weight' in state and 'mask_token' in state:
        state['decoder_mask_token'] = state.pop('mask_token')
    if 'reg_token' in state:
        state['register_tokens'] = state.pop('reg_token')  # timm's name
    positions, cls = state.get('pos_embed'), state.get('cls_token')
    if positions is not None and cls is not None and round(positions.shape[1] ** 0.5) ** 2 == positions.shape[1]:
        # timm adds the position of CLS to CLS itself where there are registers
        state['pos_embed'] = torch.cat([torch.zeros_like(positions[:, :1]), positions], 1)
    return state


def _describe(state: State, hints: Hints) -> Description:
    width, _, patch, _ = state['patch_embed.projection.weight'].shape
    extra = int('cls_token' in state)
    pre_norm = 'pre_norm.weight' in state
    family = hints.family or _family(state)
    backbone = {
        'type': 'mmpretrain.VisionTransformer',
        'arch': {
            'embed_dims': width,
            'num_layers': depth_of(state),
            'num_heads': num_heads(width, hints),
            'feedforward_channels': state['layers.0.ffn.layers.0.0.weight'].shape[0],
        },
        'img_size': patch * grid_side(state['pos_embed'].shape[1] - extra, 'pos_embed'),
        'patch_size': patch,
        'with_cls_token': bool(extra),
        'final_norm': 'ln1.weight' in state,
        'norm_cfg': {'type': 'LN', 'eps': 1e-5 if family == 'CLIP' else 1e-6},
    }
    if 'register_tokens' in state:
        backbone |= {'type': 'hgkd_mm.RegisterVisionTransformer', 'num_registers': state['register_tokens'].shape[1]}
    if 'layers.0.attn.gamma1.weight' in state:
        backbone['layer_scale_init_value'] = 1.0
    if pre_norm:
        backbone |= {'pre_norm': True, 'patch_cfg': {'bias': 'patch_embed.projection.bias' in state}}
    if 'layers.0.attn.qkv.bias' not in state:
        backbone['qkv_bias'] = False
    if hints.activation not in (None, 'gelu', 'quick_gelu'):
        raise WeightsError(f"activation {hints.activation!r} of config.json or --activation: 'gelu' or 'quick_gelu'")
    if hints.activation == 'quick_gelu':
        backbone['layer_cfgs'] = {'act_cfg': {'type': 'mmpretrain.QuickGELU'}}
    statistics = CLIP if family == 'CLIP' else IMAGENET
    return Description(family, backbone, statistics, _decoder(state))


def _family(state: State) -> str:
    if 'pre_norm.weight' in state:
        return 'CLIP'
    if 'layers.0.attn.gamma1.weight' in state or 'register_tokens' in state:
        return 'DINOv2'
    return 'MAE' if 'decoder.decoder_embed.weight' in state else 'ViT'


def _decoder(state: State) -> dict | None:
    if 'decoder.decoder_embed.weight' not in state:
        return None
    width, embed_dims = state['decoder.decoder_embed.weight'].shape
    return {
        'num_patches': state['decoder.decoder_pos_embed'].shape[1] - 1,
        'embed_dim': embed_dims,
        'decoder_embed_dim': width,
        'decoder_depth': depth_of(state, r'decoder\.decoder_blocks\.(\d+)\.'),
        'decoder_num_heads': num_heads(width, Hints(), _DECODER_WIDTH_OF_A_HEAD),
        'mlp_ratio': state['decoder.decoder_blocks.0.ffn.layers.0.0.weight'].shape[0] / width,
    }


VIT = Family(
    name='ViT',
    members='MAE, iBOT, DINO, DINOv2 (registers too), CLIP',
    names=_NAMES,
    dropped=_DROPPED,
    is_official=lambda state: 'blocks.0.mlp.fc1.weight' in state and 'blocks.0.attn.qkv.weight' in state,
    is_mmpretrain=lambda state: 'layers.0.ffn.layers.0.0.weight' in state,
    prepare=_prepare,
    describe=_describe,
)
