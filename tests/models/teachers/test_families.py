"""Tokens of every family, in every layout, are those of timm's implementation with the same weights."""

import pytest
import teacher_references as ref
import timm.models.vision_transformer as timm_vit
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table_simple

from hgkd_mm.errors import ConfigError
from hgkd_mm.models.teachers import ViTTeacher
from hgkd_mm.models.teachers.layouts import identify

#: Name of the reference network, layout, its converter, family found.
CASES = [
    ('MAE', 'official or timm', lambda s: {'model': s}, 'ViT'),
    ('MAE', 'Hugging Face', ref.hugging_face_vit, 'ViT'),
    ('DINOv2', 'official or timm', ref.official_dinov2, 'DINOv2'),
    ('DINOv2', 'Hugging Face', ref.hugging_face_dinov2, 'DINOv2'),
    ('DINOv2 with registers', 'official or timm', dict, 'DINOv2'),
    ('DINOv2 with registers', 'official or timm', ref.official_dinov2, 'DINOv2'),
    ('DINOv2 with registers', 'Hugging Face', ref.hugging_face_dinov2, 'DINOv2'),
    ('CLIP', 'official or timm', dict, 'CLIP'),
    ('CLIP', 'OpenAI CLIP', ref.openai_clip, 'CLIP'),
    ('CLIP', 'Hugging Face', ref.hugging_face_clip, 'CLIP'),
    ('BEiT', 'official or timm', dict, 'BEiT'),
    ('BEiT', 'Hugging Face', ref.hugging_face_beit, 'BEiT'),
    ('BEiT, shared positions', 'official or timm', dict, 'BEiT'),
    ('BEiT, shared positions', 'Hugging Face', ref.hugging_face_beit, 'BEiT'),
    ('CAE', 'official or timm', lambda s: {f'encoder.{k}': v for k, v in s.items()}, 'CAE'),
    ('EVA-02 base', 'official or timm', dict, 'EVA-02'),
    ('EVA-02 base', 'official or timm', ref.official_eva02, 'EVA-02'),
    ('EVA-02 small', 'official or timm', dict, 'EVA-02'),
    ('SimMIM', 'official or timm', dict, 'SimMIM'),
    ('SimMIM', 'official or timm', ref.official_simmim, 'SimMIM'),
    ('SimMIM', 'Hugging Face', ref.hugging_face_swin, 'SimMIM'),
]


@pytest.fixture(scope='module')
def images() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 56, 56), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def teacher_of(content: dict, tmp_path, **kwargs) -> ViTTeacher:
    path = tmp_path / 'weights.pth'
    torch.save(content, path)
    return ViTTeacher(weights=str(path), channel_order='rgb', **kwargs)


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize(('network', 'layout', 'convert', 'family'), CASES)
def test_tokens_are_those_of_timm(network, layout, convert, family, images, tmp_path):
    model = ref.NETWORKS[network]()
    content = convert(ref.weights(model))
    found = identify(content, 'weights')
    assert (found.layout, found.family) == (layout, family)
    if network == 'CLIP' and layout == 'official or timm':  # timm's names do not tell the activation
        found.backbone['layer_cfgs'] = dict(act_cfg=dict(type='mmpretrain.QuickGELU'))
        save_file(found.state, tmp_path / 'w.safetensors')
        options = dict(backbone=found.backbone, mean=found.mean, std=found.std)
        options |= dict(weights=str(tmp_path / 'w.safetensors'), channel_order='rgb')
        teacher = ViTTeacher(**options, layer=[1, 3], img_size=56)
    else:
        size = 64 if network == 'SimMIM' else 56
        teacher = teacher_of(content, tmp_path, layer=[1, 4] if network == 'SimMIM' else [1, 3], img_size=size)
    pixels = teacher.preprocess(images)
    for layer, ours in zip(teacher.layers, teacher(images), strict=True):
        assert relative_error(ours, ref.tokens(model, pixels, layer)) < 1e-5


def test_our_openai_and_dinov2_layouts_are_what_timm_reads():
    for name, convert in (('CLIP', ref.openai_clip), ('DINOv2 with registers', ref.official_dinov2)):
        model = ref.NETWORKS[name]()
        read = timm_vit.checkpoint_filter_fn(convert(ref.weights(model)), model)
        for key, value in model.state_dict().items():
            torch.testing.assert_close(read[key], value)


@pytest.mark.parametrize('network', ref.NETWORKS)
def test_converted_weights_in_a_training_checkpoint_of_mmpretrain_are_recognised(network):
    found = identify(ref.weights(ref.NETWORKS[network]()), 'weights')
    again = identify(ref.in_mmpretrain_checkpoint(found.state), 'checkpoint')
    assert again.layout == 'mmpretrain' and again.prefix == 'backbone.'
    assert (again.family, again.backbone, again.mean) == (found.family, found.backbone, found.mean)
    assert again.state.keys() == found.state.keys()
    assert all(torch.equal(value, found.state[key]) for key, value in again.state.items())


def _set_size(network: str, model: torch.nn.Module, size: int) -> torch.nn.Module:
    """Give timm's network of that size the weights of ``model``, with positions brought to it by timm's functions."""
    larger = ref.NETWORKS[network](img_size=size)
    state = ref.weights(model)
    for key, wanted in larger.state_dict().items():
        if key == 'pos_embed':
            prefix = 0 if getattr(model, 'no_embed_class', False) else 1
            grid = list(model.patch_embed.grid_size), list(larger.patch_embed.grid_size)
            options = dict(num_prefix_tokens=prefix, antialias=False)
            state[key] = resample_abs_pos_embed(state[key], grid[1], grid[0], **options)
        elif key.endswith('relative_position_bias_table') and state[key].shape != wanted.shape:
            state[key] = resize_rel_pos_bias_table_simple(state[key], larger.patch_embed.grid_size, wanted.shape)
    larger.load_state_dict(state)
    return larger


@pytest.mark.parametrize('size', [42, 98])
@pytest.mark.parametrize('network', [name for name in ref.NETWORKS if name not in ('SimMIM', 'CLIP')])
def test_at_another_size_tokens_are_those_of_timm_with_its_resized_positions(network, size, images, tmp_path):
    model = ref.NETWORKS[network]()
    teacher = teacher_of(ref.weights(model), tmp_path, layer=3, img_size=size)
    assert teacher.grid_size == (size // 14, size // 14)
    theirs = ref.tokens(_set_size(network, model, size), teacher.preprocess(images), 3)
    assert relative_error(teacher(images), theirs) < 1e-5


@pytest.mark.parametrize('size', [96, 80])
def test_swin_windows_are_padded_at_another_size_as_timm_does(size, images, tmp_path):
    model = ref.NETWORKS['SimMIM']()
    teacher = teacher_of(ref.weights(model), tmp_path, layer=[2, 3], img_size=size)
    pixels = teacher.preprocess(images)
    for layer, ours in zip((2, 3), teacher(images), strict=True):
        assert relative_error(ours, ref.tokens(model, pixels, layer)) < 1e-5
    with pytest.raises(ConfigError, match='stage 4 would have 1x1 tokens.*at least 64'):
        teacher_of(ref.weights(model), tmp_path, layer=4, img_size=32)


def test_input_is_normalised_by_the_teacher_s_own_statistics(images, tmp_path):
    teacher = teacher_of(ref.weights(ref.NETWORKS['BEiT']()), tmp_path, layer=1, img_size=56)
    torch.testing.assert_close(teacher.preprocess(images), images / 127.5 - 1)
    teacher = teacher_of(ref.openai_clip(ref.weights(ref.NETWORKS['CLIP']())), tmp_path, layer=1, img_size=56)
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    torch.testing.assert_close(teacher.preprocess(images), (images / 255 - mean) / std, rtol=1e-4, atol=1e-5)


def test_weights_in_half_precision_are_run_in_float32(images, tmp_path):
    state = {key: value.half() for key, value in ref.weights(ref.NETWORKS['MAE']()).items()}
    tokens = teacher_of(state, tmp_path, layer=3, img_size=56)(images)
    same = teacher_of({key: value.float() for key, value in state.items()}, tmp_path, layer=3, img_size=56)(images)
    assert torch.equal(tokens, same)
