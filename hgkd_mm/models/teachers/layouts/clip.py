"""CLIP's image encoder, as OpenAI and open_clip name it."""

from .layout import Layout, State, rename

_NAMES = [
    (r'class_embedding', r'cls_token'),
    (r'positional_embedding', r'pos_embed'),
    (r'conv1\.(weight|bias)', r'patch_embed.proj.\1'),
    (r'ln_pre\.(.+)', r'norm_pre.\1'),
    (r'ln_post\.(.+)', r'norm.\1'),
    (r'proj', r'head.weight'),
    (r'transformer\.resblocks\.(\d+)\.ln_([12])\.(.+)', r'blocks.\1.norm\2.\3'),
    (r'transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)', r'blocks.\1.attn.qkv.\2'),
    (r'transformer\.resblocks\.(\d+)\.attn\.out_proj\.(.+)', r'blocks.\1.attn.proj.\2'),
    (r'transformer\.resblocks\.(\d+)\.mlp\.c_fc\.(.+)', r'blocks.\1.mlp.fc1.\2'),
    (r'transformer\.resblocks\.(\d+)\.mlp\.c_proj\.(.+)', r'blocks.\1.mlp.fc2.\2'),
]


def _to_official(state: State) -> State:
    state = rename(state, _NAMES)
    state['cls_token'] = state['cls_token'].reshape(1, 1, -1)
    state['pos_embed'] = state['pos_embed'].reshape(1, *state['pos_embed'].shape[-2:])
    return state


OPENAI_CLIP = Layout('OpenAI CLIP', 'conv1.weight', _to_official, activation='quick_gelu')
