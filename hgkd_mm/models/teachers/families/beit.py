"""BEiT, BEiT v2 and CAE: attention without a bias of keys, with relative positions or, in CAE, absolute ones."""

from .family import HALF, IMAGENET, Description, Family, Hints, State, depth_of, grid_side, num_heads

_TABLE = 'relative_position_bias_table'

_NAMES = [
    (r'(cls_token|pos_embed)', r'\1'),
    (r'patch_embed\.proj\.(weight|bias)', r'patch_embed.projection.\1'),
    (r'norm\.(weight|bias)', r'ln1.\1'),
    (rf'rel_pos_bias\.{_TABLE}', rf'rel_pos_bias.{_TABLE}'),
    (r'blocks\.(\d+)\.(gamma_[12])', r'layers.\1.\2'),
    (r'blocks\.(\d+)\.norm([12])\.(weight|bias)', r'layers.\1.ln\2.\3'),
    (rf'blocks\.(\d+)\.attn\.(q_bias|v_bias|{_TABLE}|qkv\.weight|proj\.weight|proj\.bias)', r'layers.\1.attn.\2'),
    (r'blocks\.(\d+)\.mlp\.fc1\.(weight|bias)', r'layers.\1.ffn.layers.0.0.\2'),
    (r'blocks\.(\d+)\.mlp\.fc2\.(weight|bias)', r'layers.\1.ffn.layers.1.\2'),
]
_DROPPED = [
    (r'(.*\.)?relative_position_index', 'follows from the size'),
    (r'blocks\.\d+\.attn\.k_bias', 'zero'),
    (r'mask_token', 'stands for hidden patches in pretraining only'),
    (r'fc_norm\..*', 'works on a pooled vector'),
    (r'cls_pt_layers\..*', 'pretrains the CLS token (BEiT v2)'),
    (r'(head|lm_head|cls_pt_lm_head)\..*', 'head'),
]


def _describe(state: State, hints: Hints) -> Description:
    width, _, patch, _ = state['patch_embed.projection.weight'].shape
    shared, each = state.get(f'rel_pos_bias.{_TABLE}'), state.get(f'layers.0.attn.{_TABLE}')
    table = each if shared is None else shared
    if table is not None:  # of a grid of side s: (2s - 1)^2 distances and three that involve CLS
        side = (grid_side(table.shape[0] - 3, _TABLE) + 1) // 2
        hints = hints._replace(num_heads=table.shape[1])
    else:
        side = grid_side(state['pos_embed'].shape[1] - 1, 'pos_embed')
    family = hints.family or ('BEiT' if table is not None else 'CAE')
    backbone = {
        'type': 'mmpretrain.BEiTViT',
        'arch': {
            'embed_dims': width,
            'num_layers': depth_of(state),
            'num_heads': num_heads(width, hints),
            'feedforward_channels': state['layers.0.ffn.layers.0.0.weight'].shape[0],
        },
        'img_size': patch * side,
        'patch_size': patch,
        'use_abs_pos_emb': 'pos_embed' in state,
        'use_rel_pos_bias': each is not None,
        'use_shared_rel_pos_bias': shared is not None,
        'layer_scale_init_value': 1.0 if 'layers.0.gamma_1' in state else 0.0,
        'bias': 'qv_bias' if 'layers.0.attn.q_bias' in state else 'layers.0.attn.qkv.bias' in state,
        'final_norm': 'ln1.weight' in state,
        'norm_cfg': {'type': 'LN', 'eps': 1e-6},
    }
    return Description(family, backbone, HALF if family == 'BEiT' else IMAGENET)


def _is_beit(state: State, blocks: str) -> bool:
    return f'{blocks}.0.gamma_1' in state or f'{blocks}.0.attn.q_bias' in state


def _is_official(state: State) -> bool:
    into, out = state.get('blocks.0.mlp.fc1.weight'), state.get('blocks.0.mlp.fc2.weight')
    if into is None or out is None or into.shape[0] != out.shape[1]:  # timm's EVA-02 has a gate
        return False
    return _is_beit(state, 'blocks')


BEIT = Family(
    name='BEiT',
    members='BEiT, BEiT v2, CAE',
    names=_NAMES,
    dropped=_DROPPED,
    is_official=_is_official,
    is_mmpretrain=lambda state: _is_beit(state, 'layers'),
    prepare=dict,
    describe=_describe,
)
