"""Swin Transformers, as SimMIM pretrains them: a grid that gets coarser from stage to stage."""

import re

from .family import IMAGENET, Description, Family, Hints, State, depth_of, grid_side

_TABLE = 'relative_position_bias_table'
_BLOCK = r'layers\.(\d+)\.blocks\.(\d+)'

_NAMES = [
    (r'absolute_pos_embed', r'absolute_pos_embed'),
    (r'patch_embed\.proj\.(weight|bias)', r'patch_embed.projection.\1'),
    (r'patch_embed\.norm\.(weight|bias)', r'patch_embed.norm.\1'),
    (rf'{_BLOCK}\.norm([12])\.(weight|bias)', r'stages.\1.blocks.\2.norm\3.\4'),
    (rf'{_BLOCK}\.attn\.({_TABLE}|(?:qkv|proj)\.(?:weight|bias))', r'stages.\1.blocks.\2.attn.w_msa.\3'),
    (rf'{_BLOCK}\.mlp\.fc1\.(weight|bias)', r'stages.\1.blocks.\2.ffn.layers.0.0.\3'),
    (rf'{_BLOCK}\.mlp\.fc2\.(weight|bias)', r'stages.\1.blocks.\2.ffn.layers.1.\3'),
    (r'layers\.(\d+)\.downsample\.(norm\.weight|norm\.bias|reduction\.weight)', r'stages.\1.downsample.\2'),
    (r'norm\.(weight|bias)', r'norm3.\1'),
]
_DROPPED = [
    (r'.*(relative_position_index|relative_coords_table|attn_mask)', 'follows from the size'),
    (r'mask_token', 'stands for hidden patches in pretraining only'),
    (r'head\..*', 'head'),
]


def _prepare(state: State) -> State:
    """Give downsampling to the stage before it, and its input channels in the order of mmcv's unfolding."""
    prepared = {}
    later = 'layers.0.downsample.reduction.weight' not in state  # timm: at the beginning of the stage after
    for key, value in state.items():
        if found := re.fullmatch(r'layers\.(\d+)\.downsample\.(.+)', key):
            key = f'layers.{int(found[1]) - later}.downsample.{found[2]}'
            *rows, channels = value.shape
            # from (left column, right column) x (top, bottom) x channel to channel x top/bottom x left/right
            parts = value.reshape(*rows, 2, 2, channels // 4)
            value = parts.movedim(-1, len(rows)).transpose(-1, -2).reshape(value.shape)
        prepared[key] = value
    return prepared


def _describe(state: State, hints: Hints) -> Description:
    width, _, patch, _ = state['patch_embed.projection.weight'].shape
    stages = range(depth_of(state, r'stages\.(\d+)\.'))
    tables = [state[f'stages.{stage}.blocks.0.attn.w_msa.{_TABLE}'] for stage in stages]
    window = (grid_side(tables[0].shape[0], _TABLE) + 1) // 2
    backbone = {
        'type': 'mmpretrain.SwinTransformer',
        'arch': {
            'embed_dims': width,
            'depths': [depth_of(state, rf'stages\.{stage}\.blocks\.(\d+)\.') for stage in stages],
            'num_heads': [table.shape[1] for table in tables],
        },
        # at its native size the last stage is one window
        'img_size': patch * window * 2 ** (len(stages) - 1),
        'patch_size': patch,
        'window_size': window,
        'drop_path_rate': 0.0,
        'use_abs_pos_embed': 'absolute_pos_embed' in state,
        'out_indices': (len(stages) - 1,),
        'norm_cfg': {'type': 'LN'} if f'norm{len(stages) - 1}.weight' in state else None,
    }
    return Description(hints.family or 'SimMIM', backbone, IMAGENET)


SWIN = Family(
    name='Swin',
    members='SimMIM',
    names=_NAMES,
    dropped=_DROPPED,
    is_official=lambda state: 'layers.0.blocks.0.attn.qkv.weight' in state,
    is_mmpretrain=lambda state: 'stages.0.blocks.0.attn.w_msa.qkv.weight' in state,
    prepare=_prepare,
    describe=_describe,
)
