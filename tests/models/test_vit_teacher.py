import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from hgkd_mm.errors import ConfigError, WeightsError
from hgkd_mm.models.teachers import ViTTeacher
from hgkd_mm.models.teachers.build import build_vit
from hgkd_mm.models.teachers.teacher import resize_images
from hgkd_mm.registry import MODELS
from hgkd_mm.utils import sha256_file

ARCH = dict(embed_dims=32, num_layers=3, num_heads=2, feedforward_channels=64)
BACKBONE = dict(
    type='mmpretrain.VisionTransformer',
    arch=ARCH,
    img_size=64,
    patch_size=8,
    layer_scale_init_value=0.5,
)


def random_state(backbone: dict = BACKBONE) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = build_vit(backbone, None, backbone['img_size']).state_dict()
    return {k: 0.2 * torch.randn(v.shape, generator=generator) for k, v in state.items()}


@pytest.fixture
def weights(tmp_path: Path) -> str:
    path = tmp_path / 'teacher.safetensors'
    save_file(random_state(), path)
    return str(path)


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, 80, 72), generator=generator, dtype=torch.uint8)


def make(weights: str | None, **kwargs) -> ViTTeacher:
    config = dict(type='hgkd_mm.ViTTeacher', backbone=BACKBONE, weights=weights, layer=2)
    return MODELS.build(config | dict(img_size=64) | kwargs)


def naive_tokens(images: torch.Tensor, layer: int) -> torch.Tensor:
    """Run the stock network, with all its blocks, on pixels normalised by hand."""
    vit = build_vit(BACKBONE, random_state(), 64, out_type='raw', out_indices=[0, 1, 2])
    rgb = images.float()[:, [2, 1, 0]]
    rgb = F.interpolate(rgb, (64, 64), mode='bicubic', antialias=True).clamp(0, 255)
    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    with torch.no_grad():
        tokens = vit((rgb - mean) / std)[layer - 1]
    return tokens[:, 1:].transpose(1, 2).reshape(len(images), 32, 8, 8)


@pytest.mark.parametrize('layer', [1, 2, 3])
def test_tokens_are_those_of_the_stock_network_at_that_block(weights, images, layer):
    tokens = make(weights, layer=layer)(images)
    torch.testing.assert_close(tokens, naive_tokens(images, layer), rtol=1e-5, atol=1e-6)


def test_blocks_after_the_layer_are_dropped(weights):
    assert len(make(weights, layer=2).vit.layers) == 2


@pytest.mark.parametrize(('img_size', 'side'), [(64, 8), (32, 4), (96, 12)])
def test_grid_follows_the_image_size(weights, images, img_size, side):
    teacher = make(weights, img_size=img_size)
    tokens = teacher(images)
    assert teacher.grid_size == (side, side)
    assert teacher.embed_dims == 32
    assert tokens.shape == (2, 32, side, side)
    assert tokens.dtype == torch.float32
    assert not tokens.requires_grad


def test_position_grid_is_interpolated_bicubically_and_cls_position_is_kept(weights):
    native = random_state()['pos_embed']
    resized = make(weights, img_size=32).vit.pos_embed
    grid = native[:, 1:].reshape(1, 8, 8, 32).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (4, 4), mode='bicubic', align_corners=False)
    torch.testing.assert_close(resized[:, 1:], expected.flatten(2).transpose(1, 2))
    assert torch.equal(resized[:, :1], native[:, :1])


def test_channel_order_names_the_order_of_the_input(weights, images):
    from_bgr = make(weights, channel_order='bgr')(images)
    from_rgb = make(weights, channel_order='rgb')(images.flip(1))
    assert torch.equal(from_bgr, from_rgb)
    assert not torch.allclose(from_bgr, make(weights, channel_order='rgb')(images))


def test_float_and_uint8_inputs_give_the_same_tokens(weights, images):
    teacher = make(weights)
    assert torch.equal(teacher(images), teacher(images.float()))


def test_tokens_are_the_same_in_any_batch_and_under_autocast(weights, images):
    teacher = make(weights)
    tokens = teacher(images)
    torch.testing.assert_close(teacher(images[1:]), tokens[1:], rtol=1e-5, atol=1e-6)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(teacher(images), tokens)


def test_resizing_keeps_a_constant_image_and_the_value_range():
    constant = torch.full((1, 3, 50, 40), 200, dtype=torch.uint8)
    torch.testing.assert_close(resize_images(constant, 16), torch.full((1, 3, 16, 16), 200.0))
    stripes = torch.zeros(1, 3, 16, 16)
    stripes[..., ::4] = 255
    resized = resize_images(stripes, 40)
    assert resized.min() == 0
    assert resized.max() <= 255


def test_teacher_is_frozen_and_always_in_eval_mode(weights):
    teacher = make(weights)
    assert teacher.train() is teacher
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_tokens_can_be_targets_of_a_loss(weights, images):
    prediction = torch.zeros(2, 32, 8, 8, requires_grad=True)
    F.mse_loss(prediction, make(weights)(images)).backward()
    assert prediction.grad.abs().sum() > 0


def test_fingerprint_changes_with_everything_that_changes_tokens(weights, tmp_path):
    other = tmp_path / 'other.safetensors'
    save_file({k: v + 1e-3 for k, v in random_state().items()}, other)
    prints = [
        make(weights).fingerprint,
        make(str(other)).fingerprint,
        make(weights, layer=1).fingerprint,
        make(weights, img_size=32).fingerprint,
        make(weights, channel_order='rgb').fingerprint,
        make(weights, mean=(0, 0, 0)).fingerprint,
        make(weights, amp_dtype='bfloat16').fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert make(weights).fingerprint == prints[0]


def test_zero_mean_is_not_taken_for_a_missing_one(weights, images):
    teacher = make(weights, mean=(0, 0, 0), std=(1, 1, 1), channel_order='rgb')
    assert torch.equal(teacher.preprocess(images), resize_images(images, 64))


def test_json_beside_the_weights_describes_the_backbone(weights, images):
    info = dict(backbone=BACKBONE, mean=[1, 2, 3], std=[4, 5, 6], sha256=sha256_file(weights))
    Path(weights).with_suffix('.json').write_text(json.dumps(info))
    described = ViTTeacher(weights=weights, layer=2, img_size=64)
    explicit = make(weights, mean=(1, 2, 3), std=(4, 5, 6))
    assert torch.equal(described(images), explicit(images))
    assert described.fingerprint == explicit.fingerprint


def test_training_checkpoint_loads_by_its_prefix(weights, tmp_path, images):
    path = tmp_path / 'epoch_1.pth'
    state = {f'backbone.{k}': v for k, v in random_state().items()}
    torch.save(dict(state_dict=state | {'head.weight': torch.zeros(1)}, meta={}), path)
    assert torch.equal(make(str(path), prefix='backbone.')(images), make(weights)(images))
    with pytest.raises(WeightsError, match="no key begins with prefix='model.'.*backbone.cls_token"):
        make(str(path), prefix='model.')
    with pytest.raises(WeightsError, match='unexpected keys.*backbone.cls_token.*prefix'):
        make(str(path))


def test_missing_unexpected_and_misshaped_keys_are_named(tmp_path):
    state = random_state()
    del state['layers.1.attn.qkv.bias']
    state['layers.9.ln1.bias'] = torch.zeros(32)
    state['pos_embed'] = torch.zeros(1, 50, 32)
    path = tmp_path / 'bad.safetensors'
    save_file(state, path)
    with pytest.raises(WeightsError) as caught:
        make(str(path))
    message = str(caught.value)
    assert 'bad.safetensors' in message
    assert '1 missing keys (layers.1.attn.qkv.bias)' in message
    assert '1 unexpected keys (layers.9.ln1.bias)' in message
    assert 'pos_embed is (1, 50, 32), expected (1, 65, 32)' in message


def test_weights_of_another_depth_are_refused(weights):
    deeper = dict(BACKBONE, arch=dict(ARCH, num_layers=4))
    with pytest.raises(WeightsError, match='missing keys .*layers.3'):
        make(weights, backbone=deeper)


def test_wrong_sha256_is_refused(weights):
    with pytest.raises(WeightsError, match=f'{weights}: SHA-256 is {sha256_file(weights)}, expected 0000'):
        make(weights, sha256='0000')
    make(weights, sha256=sha256_file(weights))


def test_missing_and_damaged_files_are_named(weights, tmp_path):
    with pytest.raises(WeightsError, match='not found: nowhere.safetensors.*convert_teacher'):
        ViTTeacher(weights='nowhere.safetensors')
    damaged = tmp_path / 'cut.safetensors'
    damaged.write_bytes(Path(weights).read_bytes()[:1000])
    with pytest.raises(WeightsError, match='cut.safetensors'):
        make(str(damaged))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(layer=0), r'layer=0: the teacher has blocks 1\.\.3'),
        (dict(layer=4), r'layer=4'),
        (dict(img_size=60), r'img_size=60: .*patch_size=8'),
        (dict(channel_order='grb'), r"channel_order='grb'"),
        (dict(amp_dtype='int8'), r"amp_dtype='int8'"),
    ],
)
def test_wrong_arguments_are_named(weights, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        make(weights, **kwargs)


def test_wrong_input_shape_is_named(weights):
    with pytest.raises(ConfigError, match=r'expected \(B, 3, H, W\), got \(3, 64, 64\)'):
        make(weights)(torch.zeros(3, 64, 64))


def test_a_teacher_of_neither_weights_nor_backbone_is_refused():
    with pytest.raises(ConfigError, match='`weights` is needed, or `backbone` for random ones'):
        ViTTeacher()
