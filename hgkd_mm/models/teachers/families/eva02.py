"""EVA-02: rotary positions and gated feed-forward layers."""

import re

import torch

from .family import CLIP, Description, Family, Hints, State, depth_of, grid_side, num_heads

_NAMES = [
    (r'(cls_token|pos_embed)', r'\1'),
    (r'patch_embed\.proj\.(weight|bias)', r'patch_embed.projection.\1'),
    (r'norm\.(weight|bias)', r'ln1.\1'),
    (r'blocks\.(\d+)\.norm([12])\.(weight|bias)', r'layers.\1.norm\2.\3'),
    (r'blocks\.(\d+)\.attn\.(qkv|proj)\.(weight|bias)', r'layers.\1.attn.\2.\3'),
    (r'blocks\.(\d+)\.mlp\.(w12|w3|norm)\.(weight|bias)', r'layers.\1.mlp.\2.\3'),
]
_DROPPED = [
    (r'(.*\.)?rope\.freqs_(cos|sin)', 'follows from the size'),
    (r'mask_token', 'stands for hidden patches in pretraining only'),
    (r'fc_norm\..*', 'works on a pooled vector'),
    (r'(head|lm_head)\..*', 'head'),
]
#: timm's names of what the official release calls otherwise.
_TIMM_NAMES = {'fc1_g': 'w1', 'fc1_x': 'w2', 'ffn_ln': 'norm', 'fc2': 'w3', 'fc1': 'w12'}


def _prepare(state: State) -> State:
    """Join query, key and value, and the two branches of the gate, as mmpretrain has them."""
    state = {_renamed(key): value for key, value in state.items() if not key.endswith('attn.k_bias')}
    for number in range(depth_of(state, r'blocks\.(\d+)\.')):
        attn, mlp = f'blocks.{number}.attn', f'blocks.{number}.mlp'
        if f'{attn}.q_proj.weight' in state:
            state[f'{attn}.qkv.weight'] = torch.cat([state.pop(f'{attn}.{part}_proj.weight') for part in 'qkv'])
        if f'{attn}.q_bias' in state:
            query, value = state.pop(f'{attn}.q_bias'), state.pop(f'{attn}.v_bias')
            state[f'{attn}.qkv.bias'] = torch.cat([query, torch.zeros_like(query), value])
        for kind in ('weight', 'bias'):
            if f'{mlp}.w1.{kind}' in state:
                parts = [state.pop(f'{mlp}.{part}.{kind}') for part in ('w1', 'w2')]
                state[f'{mlp}.w12.{kind}'] = torch.cat(parts)
    return state


def _renamed(key: str) -> str:
    key = re.sub(r'attn\.(q|v)_proj\.bias', r'attn.\1_bias', key)
    return re.sub(r'\.mlp\.(\w+)\.', lambda found: f'.mlp.{_TIMM_NAMES.get(found[1], found[1])}.', key)


def _describe(state: State, hints: Hints) -> Description:
    width, _, patch, _ = state['patch_embed.projection.weight'].shape
    backbone = {
        'type': 'mmpretrain.ViTEVA02',
        'arch': {
            'embed_dims': width,
            'num_layers': depth_of(state),
            'num_heads': num_heads(width, hints),
            'feedforward_channels': state['layers.0.mlp.w3.weight'].shape[1],
        },
        'img_size': patch * grid_side(state['pos_embed'].shape[1] - 1, 'pos_embed'),
        'patch_size': patch,
        'sub_ln': 'layers.0.mlp.norm.weight' in state,
        'qkv_bias': 'layers.0.attn.qkv.bias' in state,
        'final_norm': 'ln1.weight' in state,
        'norm_cfg': {'type': 'LN', 'eps': 1e-6},
    }
    return Description(hints.family or 'EVA-02', backbone, CLIP)


def _is_official(state: State) -> bool:
    if 'blocks.0.mlp.w1.weight' in state or 'blocks.0.mlp.fc1_g.weight' in state:
        return True
    joined, out = state.get('blocks.0.mlp.fc1.weight'), state.get('blocks.0.mlp.fc2.weight')
    has_gate = joined is not None and out is not None and joined.shape[0] == 2 * out.shape[1]
    return has_gate and 'blocks.0.attn.q_bias' in state


EVA02 = Family(
    name='EVA-02',
    members='EVA-02',
    names=_NAMES,
    dropped=_DROPPED,
    is_official=_is_official,
    is_mmpretrain=lambda state: 'layers.0.mlp.w12.weight' in state,
    prepare=_prepare,
    describe=_describe,
)
