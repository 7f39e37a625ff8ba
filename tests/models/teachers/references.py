"""Small networks of timm with random weights, and their weights in the layouts that people have."""

import re
from functools import partial

import timm.models.beit
import timm.models.eva
import timm.models.swin_transformer
import timm.models.vision_transformer as timm_vit
import torch
from torch import Tensor, nn

WIDTH, DEPTH, HEADS = 128, 3, 2
COMMON = dict(img_size=56, patch_size=14, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, num_classes=0)


def randomize(model: nn.Module) -> nn.Module:
    """Give every parameter values that matter: none zero, none one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_scale = parameter.ndim == 1 and ('norm' in name and 'weight' in name or 'gamma' in name)
            parameter.copy_(1 + 0.2 * noise if is_scale else noise * (0.3 if parameter.ndim == 1 else 0.1))
    return model.eval()


def vit(**kwargs) -> nn.Module:
    return randomize(timm_vit.VisionTransformer(**COMMON | dict(global_pool='token') | kwargs))


def beit(**kwargs) -> nn.Module:
    config = COMMON | dict(global_pool='token', init_values=0.1) | kwargs
    return randomize(timm.models.beit.Beit(**config))


def eva02(**kwargs) -> nn.Module:
    config = COMMON | dict(
        global_pool='token', mlp_ratio=4 * 2 / 3, swiglu_mlp=True, use_rot_pos_emb=True, ref_feat_shape=(16, 16)
    )
    return randomize(timm.models.eva.Eva(**config | kwargs))


def swin(**kwargs) -> nn.Module:
    config = dict(img_size=64, patch_size=4, window_size=2, embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))
    config |= dict(num_classes=0, strict_img_size=False)
    return randomize(timm.models.swin_transformer.SwinTransformer(**config | kwargs))


NETWORKS = {
    'MAE': vit,
    'DINOv2': partial(vit, init_values=0.1),
    'DINOv2 with registers': partial(vit, init_values=0.1, reg_tokens=4, no_embed_class=True),
    'CLIP': partial(
        vit, pre_norm=True, norm_layer=partial(nn.LayerNorm, eps=1e-5), act_layer=timm.layers.QuickGELU, patch_size=14
    ),
    'BEiT': partial(beit, use_rel_pos_bias=True),
    'BEiT, shared positions': partial(beit, use_shared_rel_pos_bias=True, use_rel_pos_bias=False),
    'CAE': partial(beit, use_abs_pos_emb=True, use_rel_pos_bias=False),
    'EVA-02 base': partial(eva02, qkv_fused=False, scale_mlp=True),
    'EVA-02 small': partial(eva02, qkv_fused=True),
    'SimMIM': swin,
}


def tokens(model: nn.Module, pixels: Tensor, layer: int) -> Tensor:
    """Return timm's patch tokens ``(B, C, h, w)`` after a block, or a stage of Swin; the last after the final norm."""
    seen = []
    blocks = model.layers if hasattr(model, 'layers') else model.blocks
    hook = blocks[layer - 1].register_forward_hook(lambda *args: seen.append(args[-1]))
    with torch.no_grad():
        model.forward_features(pixels)
    hook.remove()
    (out,) = seen
    with torch.no_grad():
        out = model.norm(out) if layer == len(blocks) else out
    if out.ndim == 4:  # Swin: channels last
        return out.permute(0, 3, 1, 2)
    out = out[:, model.num_prefix_tokens :]
    side = round(out.shape[1] ** 0.5)
    return out.transpose(1, 2).reshape(len(out), -1, side, side)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def renamed(state: dict[str, Tensor], *names: tuple[str, str]) -> dict[str, Tensor]:
    """Apply each substitution to every key."""
    out = {}
    for key, value in state.items():
        for pattern, replacement in names:
            key = re.sub(pattern, replacement, key)
        out[key] = value
    return out


def split_qkv(state: dict[str, Tensor], names: tuple[str, str, str]) -> dict[str, Tensor]:
    """Split ``*.qkv.*`` in three."""
    out = {}
    for key, value in state.items():
        if '.qkv.' in key:
            for name, part in zip(names, value.chunk(3), strict=True):
                out[key.replace('qkv', name)] = part
        else:
            out[key] = value
    return out


def official_dinov2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As facebookresearch/dinov2 names it: positions with one for CLS, registers by another name."""
    if 'reg_token' not in state:
        return state | {'mask_token': torch.ones(1, WIDTH)}
    cls_position = torch.full((1, 1, WIDTH), 0.25)
    state = dict(state)
    state['register_tokens'] = state.pop('reg_token')
    state['pos_embed'] = torch.cat([cls_position, state['pos_embed']], 1)
    state['cls_token'] = state['cls_token'] - cls_position
    return state | {'mask_token': torch.ones(1, WIDTH)}


def openai_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    state = renamed(
        state,
        (r'^patch_embed\.proj', 'conv1'),
        (r'^norm_pre', 'ln_pre'),
        (r'^norm\.', 'ln_post.'),
        (r'^cls_token', 'class_embedding'),
        (r'^pos_embed', 'positional_embedding'),
        (r'^blocks', 'transformer.resblocks'),
        (r'norm([12])', r'ln_\1'),
        (r'attn\.qkv\.', 'attn.in_proj_'),
        (r'attn\.proj', 'attn.out_proj'),
        (r'mlp\.fc1', 'mlp.c_fc'),
        (r'mlp\.fc2', 'mlp.c_proj'),
    )
    for key in ('class_embedding', 'positional_embedding'):
        state[key] = state[key].squeeze()
    state['proj'] = torch.randn(WIDTH, 16)
    text = {'transformer.resblocks.0.ln_1.weight': torch.ones(4), 'logit_scale': torch.ones(())}
    return {f'visual.{key}': value for key, value in state.items()} | text


def official_eva02(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As baaivision/EVA names it."""
    state = renamed(
        state,
        (r'mlp\.fc1_g', 'mlp.w1'),
        (r'mlp\.fc1_x', 'mlp.w2'),
        (r'mlp\.fc2', 'mlp.w3'),
        (r'mlp\.norm', 'mlp.ffn_ln'),
        (r'attn\.([qv])_proj\.bias', r'attn.\1_bias'),
    )
    tables = {f'{name}rope.freqs_cos': torch.ones(4, 4) for name in ('', 'blocks.0.attn.')}
    return state | tables | {'mask_token': torch.ones(1, 1, WIDTH), 'lm_head.weight': torch.ones(4, WIDTH)}


def official_simmim(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As microsoft/SimMIM names it: downsampling belongs to the stage before, buffers are in the file."""
    state = {
        re.sub(r'layers\.(\d)\.downsample', lambda found: f'layers.{int(found[1]) - 1}.downsample', key): value
        for key, value in state.items()
    }
    state |= {'layers.0.blocks.0.attn.relative_position_index': torch.ones(4, 4), 'mask_token': torch.ones(1, 1, 16)}
    return {f'encoder.{key}': value for key, value in state.items()} | {'decoder.0.weight': torch.ones(4, 128, 1, 1)}


_HF_BLOCK = (
    (r'attn\.(query|key|value)', r'attention.attention.\1'),
    (r'attn\.proj', 'attention.output.dense'),
)
_HF_VIT = (
    *_HF_BLOCK,
    (r'mlp\.fc1', 'intermediate.dense'),
    (r'mlp\.fc2', 'output.dense'),
    (r'norm1', 'layernorm_before'),
    (r'norm2', 'layernorm_after'),
)
_HF_EMBEDDINGS = (
    (r'^pos_embed', 'embeddings.position_embeddings'),
    (r'^(cls_token|mask_token|register_tokens)', r'embeddings.\1'),
    (r'^patch_embed\.proj', 'embeddings.patch_embeddings.projection'),
    (r'^norm\.', 'layernorm.'),
)


def hugging_face_vit(state: dict[str, Tensor]) -> dict[str, Tensor]:
    state = split_qkv(state, ('query', 'key', 'value'))
    state = renamed(state, *_HF_VIT, (r'^blocks\.', 'encoder.layer.'), *_HF_EMBEDDINGS)
    return {f'vit.{key}': value for key, value in state.items()}


def hugging_face_dinov2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    state = split_qkv(official_dinov2(state), ('query', 'key', 'value'))
    layer_scale = (r'ls([12])\.gamma', r'layer_scale\1.lambda1')
    return renamed(state, *_HF_BLOCK, layer_scale, (r'^blocks\.', 'encoder.layer.'), *_HF_EMBEDDINGS)


def hugging_face_beit(state: dict[str, Tensor]) -> dict[str, Tensor]:
    state = split_qkv(state, ('query', 'key', 'value'))
    state = renamed(
        state,
        (r'attn\.q_bias', 'attn.query.bias'),
        (r'attn\.v_bias', 'attn.value.bias'),
        (r'attn\.(relative_position_bias_table)', r'attention.attention.relative_position_bias.\1'),
        *_HF_VIT,
        (r'gamma_', 'lambda_'),
        (r'^rel_pos_bias\.', 'encoder.relative_position_bias.'),
        (r'^blocks\.', 'encoder.layer.'),
        *_HF_EMBEDDINGS,
    )
    return {k if k.startswith('layernorm') else f'beit.{k}': v for k, v in state.items()} | {
        'lm_head.weight': torch.ones(4, WIDTH)
    }


def hugging_face_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    state = renamed(
        split_qkv(state, ('q_proj', 'k_proj', 'v_proj')),
        (r'attn\.([qkv])_proj', r'self_attn.\1_proj'),
        (r'attn\.proj', 'self_attn.out_proj'),
        (r'norm([12])', r'layer_norm\1'),
        (r'^blocks', 'encoder.layers'),
        (r'^cls_token', 'embeddings.class_embedding'),
        (r'^pos_embed', 'embeddings.position_embedding.weight'),
        (r'^patch_embed\.proj', 'embeddings.patch_embedding'),
        (r'^norm_pre', 'pre_layrnorm'),
        (r'^norm\.', 'post_layernorm.'),
    )
    for key in ('embeddings.class_embedding', 'embeddings.position_embedding.weight'):
        state[key] = state[key].squeeze()
    state['embeddings.position_ids'] = torch.arange(17)[None]
    return {f'vision_model.{key}': value for key, value in state.items()} | {
        'text_model.embeddings.token_embedding.weight': torch.ones(4, 4),
        'visual_projection.weight': torch.ones(4, WIDTH),
    }


def hugging_face_swin(state: dict[str, Tensor]) -> dict[str, Tensor]:
    state = split_qkv(official_simmim(state), ('query', 'key', 'value'))
    state = {key.removeprefix('encoder.'): value for key, value in state.items() if not key.startswith('decoder.')}
    state = renamed(
        state,
        (r'attn\.(query|key|value|relative_position_bias_table|relative_position_index)', r'attention.self.\1'),
        (r'attn\.proj', 'attention.output.dense'),
        (r'mlp\.fc1', 'intermediate.dense'),
        (r'mlp\.fc2', 'output.dense'),
        (r'(blocks.+)norm1', r'\1layernorm_before'),
        (r'(blocks.+)norm2', r'\1layernorm_after'),
        (r'^layers\.', 'encoder.layers.'),
        (r'^patch_embed\.norm', 'embeddings.norm'),
        *_HF_EMBEDDINGS,
    )
    return {f'swin.{key}': value for key, value in state.items()}


def in_mmpretrain_checkpoint(state: dict[str, Tensor]) -> dict:
    return {'state_dict': {f'backbone.{key}': value for key, value in state.items()}, 'meta': {'epoch': 1}}
