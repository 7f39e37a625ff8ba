"""The names of Hugging Face transformers: ViT, ViT-MAE, BEiT, DINOv2, Swin; and, apart, those of its CLIP."""

from .layout import Layout, State, join_qkv, rename

_TABLE = 'relative_position_bias_table'


def _block(theirs: str, ours: str) -> list[tuple[str, str]]:
    """Return the names within a block, behind what its own name becomes."""
    names = [
        (r'(?:layernorm_before|norm1)\.(?P<end>.+)', 'norm1'),
        (r'(?:layernorm_after|norm2)\.(?P<end>.+)', 'norm2'),
        (r'attention\.(?:attention|self)\.(?P<end>(?:query|key|value)\..+)', 'attn'),
        (rf'attention\.(?:attention|self)\.(?:relative_position_bias\.)?(?P<end>{_TABLE})', 'attn'),
        (r'attention\.output\.dense\.(?P<end>.+)', 'attn.proj'),
        (r'(?:intermediate\.dense|mlp\.fc1)\.(?P<end>.+)', 'mlp.fc1'),
        (r'(?:output\.dense|mlp\.fc2)\.(?P<end>.+)', 'mlp.fc2'),
    ]
    return [(rf'{theirs}\.{old}', rf'{ours}.{new}.\g<end>') for old, new in names]


_NAMES = [
    (r'embeddings\.(cls_token|mask_token|register_tokens)', r'\1'),
    (r'embeddings\.position_embeddings', r'pos_embed'),
    (r'embeddings\.patch_embeddings\.projection\.(.+)', r'patch_embed.proj.\1'),
    (r'embeddings\.norm\.(.+)', r'patch_embed.norm.\1'),
    *_block(r'encoder\.layer\.(\d+)', r'blocks.\1'),
    (r'encoder\.layer\.(\d+)\.lambda_([12])', r'blocks.\1.gamma_\2'),
    (r'encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1', r'blocks.\1.ls\2.gamma'),
    (rf'encoder\.relative_position_bias\.{_TABLE}', rf'rel_pos_bias.{_TABLE}'),
    (r'encoder\.(?:.*\.)?relative_position_index', r'relative_position_index'),
    (r'layernorm\.(.+)', r'norm.\1'),
    (r'pooler\.layernorm\.(.+)', r'fc_norm.\1'),
    (r'pooler\.dense\.(.+)', r'head.pooler.\1'),
    # Swin
    *_block(r'encoder\.layers\.(\d+)\.blocks\.(\d+)', r'layers.\1.blocks.\2'),
    (r'encoder\.layers\.(\d+)\.downsample\.(.+)', r'layers.\1.downsample.\2'),
    # ViT-MAE
    (r'decoder\.(decoder_(?:embed|pred|norm)\..+|decoder_pos_embed)', r'\1'),
    (r'decoder\.mask_token', r'mask_token'),
    # transformers 5 saves them under the second name
    *_block(r'decoder\.(?:decoder_layers|decoder_encoder\.layer)\.(\d+)', r'decoder_blocks.\1'),
]


def _to_official(state: State) -> State:
    return join_qkv(rename(state, _NAMES))


_CLIP_NAMES = [
    (r'embeddings\.class_embedding', r'cls_token'),
    (r'embeddings\.position_embedding\.weight', r'pos_embed'),
    (r'embeddings\.patch_embedding\.(.+)', r'patch_embed.proj.\1'),
    (r'embeddings\.position_ids', r'head.position_ids'),
    (r'pre_layrnorm\.(.+)', r'norm_pre.\1'),  # their spelling
    (r'post_layernorm\.(.+)', r'norm.\1'),
    (r'encoder\.layers\.(\d+)\.layer_norm([12])\.(.+)', r'blocks.\1.norm\2.\3'),
    (r'encoder\.layers\.(\d+)\.self_attn\.q_proj\.(.+)', r'blocks.\1.attn.query.\2'),
    (r'encoder\.layers\.(\d+)\.self_attn\.k_proj\.(.+)', r'blocks.\1.attn.key.\2'),
    (r'encoder\.layers\.(\d+)\.self_attn\.v_proj\.(.+)', r'blocks.\1.attn.value.\2'),
    (r'encoder\.layers\.(\d+)\.self_attn\.out_proj\.(.+)', r'blocks.\1.attn.proj.\2'),
    (r'encoder\.layers\.(\d+)\.mlp\.fc([12])\.(.+)', r'blocks.\1.mlp.fc\2.\3'),
]


def _clip_to_official(state: State) -> State:
    state = join_qkv(rename(state, _CLIP_NAMES))
    state['cls_token'] = state['cls_token'].reshape(1, 1, -1)
    state['pos_embed'] = state['pos_embed'].reshape(1, *state['pos_embed'].shape[-2:])
    return state


HUGGING_FACE = Layout('Hugging Face', 'embeddings.patch_embeddings.projection.weight', _to_official)
HUGGING_FACE_CLIP = Layout(
    'Hugging Face', 'embeddings.patch_embedding.weight', _clip_to_official, activation='quick_gelu'
)
