"""The targets 'visible' and 'decoder', several layers and several teachers, against naive references."""

import pytest
import teacher_references as ref
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from hgkd_mm.errors import ConfigError, MaskError
from hgkd_mm.models.teachers import ViTTeacher, visible_tokens
from hgkd_mm.models.teachers.convert import convert_file
from hgkd_mm.models.teachers.group import TeacherGroup

GRID = (4, 4)
#: Patches that do not divide into tokens, and another number of them in each image.
VISIBLE = torch.tensor([[[1, 1, 0], [1, 1, 1], [0, 1, 1]], [[0, 0, 1], [0, 0, 0], [1, 0, 0]]]).bool()


@pytest.fixture(scope='module')
def images() -> Tensor:
    return torch.randint(0, 256, (2, 3, 56, 56), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def save(content: dict, tmp_path) -> str:
    path = tmp_path / 'weights.pth'
    torch.save(content, path)
    return str(path)


def masked_tokens(model: nn.Module, pixels: Tensor, seen: Tensor, layer: int) -> Tensor:
    """Run timm's whole network, with the keys of hidden tokens at minus infinity: ``(B, E + N, C)``."""
    extra = model.num_prefix_tokens
    hidden = nn.functional.pad(~seen.flatten(1), (extra, 0))
    bias = torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf)[:, None, None].expand(-1, 1, hidden.shape[1], -1)
    x = model.patch_embed(pixels)
    if hasattr(model, 'rope'):
        x, rope = model._pos_embed(x)
        kwargs = dict(rope=rope, attn_mask=bias)
    elif hasattr(model, 'rel_pos_bias'):
        x = torch.cat([model.cls_token.expand(len(x), -1, -1), x], 1)
        x = x if model.pos_embed is None else x + model.pos_embed
        shared = 0 if model.rel_pos_bias is None else model.rel_pos_bias()
        kwargs = dict(shared_rel_pos_bias=shared + bias)
    else:
        x = model.norm_pre(model._pos_embed(x))
        kwargs = dict(attn_mask=bias)
    for block in model.blocks[:layer]:
        x = block(x, **kwargs)
    return model.norm(x) if layer == len(model.blocks) else x


@pytest.mark.parametrize('layer', [2, 3])
@pytest.mark.parametrize('network', [name for name in ref.NETWORKS if name not in ('SimMIM', 'CLIP')])
def test_visible_tokens_are_those_of_a_network_that_ignores_the_others(network, layer, images, tmp_path):
    model = ref.NETWORKS[network]()
    path = save(ref.weights(model), tmp_path)
    teacher = ViTTeacher(weights=path, layer=layer, img_size=56, target='visible', channel_order='rgb')
    tokens, seen = teacher(images, VISIBLE), visible_tokens(VISIBLE, GRID)
    assert torch.equal(teacher.defined(VISIBLE), seen)
    with torch.no_grad():
        theirs = masked_tokens(model, teacher.preprocess(images), seen, layer)[:, model.num_prefix_tokens :]
    ours = tokens.flatten(2).transpose(1, 2)
    where = seen.flatten(1)
    assert (ours[where] - theirs[where]).abs().max() < 1e-5 * theirs[where].abs().max()
    assert (ours[~where] == 0).all()


def test_hidden_pixels_do_not_change_visible_tokens(images, tmp_path):
    path = save(ref.weights(ref.NETWORKS['MAE']()), tmp_path)
    teacher = ViTTeacher(weights=path, layer=2, img_size=56, target='visible')
    seen = visible_tokens(VISIBLE, GRID)
    pixels = seen[:, None].repeat_interleave(14, 2).repeat_interleave(14, 3)
    changed = torch.where(pixels, images, 255 - images)
    torch.testing.assert_close(teacher(changed, VISIBLE), teacher(images, VISIBLE), rtol=0, atol=0)
    assert not torch.equal(teacher(255 - images, VISIBLE), teacher(images, VISIBLE))


def test_with_everything_visible_the_target_is_the_full_one(images, tmp_path):
    path = save(ref.weights(ref.NETWORKS['EVA-02 base']()), tmp_path)
    full, visible = (ViTTeacher(weights=path, layer=3, img_size=56, target=t) for t in ('full', 'visible'))
    torch.testing.assert_close(visible(images, torch.ones(2, 3, 3).bool()), full(images), rtol=1e-4, atol=1e-5)


class Decoder(nn.Module):
    """MAE's decoder, as facebookresearch/mae names its parts, on timm's blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder_embed = nn.Linear(ref.WIDTH, 64)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 64))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, 17, 64))
        self.decoder_blocks = nn.ModuleList(Block(64, 2, qkv_bias=True) for _ in range(2))
        for block in self.decoder_blocks:
            for norm in (block.norm1, block.norm2):
                norm.eps = 1e-6
        self.decoder_norm = nn.LayerNorm(64, eps=1e-6)
        self.decoder_pred = nn.Linear(64, 3 * 14**2)

    def forward(self, latent: Tensor, seen: Tensor, layer: int) -> Tensor:
        """Decode one image: ``latent (1, 1 + V, C)``, ``seen (N,)`` -> ``(N, 64)``."""
        embedded = self.decoder_embed(latent)
        patches = self.mask_token.repeat(1, len(seen), 1)
        patches[:, seen] = embedded[:, 1:]
        x = torch.cat([embedded[:, :1], patches], 1) + self.decoder_pos_embed
        for block in self.decoder_blocks[:layer]:
            x = block(x)
        return (self.decoder_norm(x) if layer == len(self.decoder_blocks) else x)[0, 1:]


def hugging_face_mae(state: dict[str, Tensor]) -> dict[str, Tensor]:
    own = ref.hugging_face_vit({k: v for k, v in state.items() if 'decoder' not in k and k != 'mask_token'})
    decoder = {k.replace('decoder_blocks', 'blocks'): v for k, v in state.items() if f'vit.{k}' not in own}
    decoder = {k: v for k, v in decoder.items() if 'decoder' in k or k == 'mask_token' or k.startswith('blocks')}
    blocks = {k: v for k, v in state.items() if k.startswith('decoder_blocks')}
    renamed = ref.hugging_face_vit({k.removeprefix('decoder_'): v for k, v in blocks.items()})
    renamed = {f'decoder.{k}'.replace('vit.encoder.layer', 'decoder_layers'): v for k, v in renamed.items()}
    rest = {f'decoder.{k}': v for k, v in decoder.items() if not k.startswith('blocks')}
    return own | renamed | rest


@pytest.fixture(scope='module')
def mae() -> tuple[nn.Module, Decoder, dict[str, Tensor]]:
    encoder, decoder = ref.NETWORKS['MAE'](), ref.randomize(Decoder())
    return encoder, decoder, ref.weights(encoder) | ref.weights(decoder)


@pytest.mark.parametrize('layout', ['official', 'Hugging Face', 'converted', 'mmpretrain'])
def test_decoder_features_at_hidden_patches_are_those_of_mae(layout, mae, images, tmp_path):
    encoder, decoder, state = mae
    if layout == 'Hugging Face':
        state = hugging_face_mae(state)
    path = save({'model': state}, tmp_path)
    if layout in ('converted', 'mmpretrain'):
        info = convert_file(path, tmp_path / 'out.safetensors', say=lambda _: None)
        assert info['family'] == 'MAE' and info['decoder']['decoder_num_heads'] == 2
        path = str(tmp_path / 'out.safetensors')
    if layout == 'mmpretrain':
        from safetensors.torch import load_file

        names = {k: f'neck.{k.removeprefix("decoder.")}' if k.startswith('decoder.') else f'backbone.{k}'
                 for k in load_file(path)}  # fmt: skip
        path = save({'state_dict': {names[k]: v for k, v in load_file(path).items()}}, tmp_path)
    teacher = ViTTeacher(weights=path, layer=[1, 2], img_size=56, target='decoder', channel_order='rgb')
    assert teacher.token_shapes == [(64, 4, 4)] * 2
    pixels, seen = teacher.preprocess(images), visible_tokens(VISIBLE, GRID)
    assert torch.equal(teacher.defined(VISIBLE), ~seen)
    for layer, tokens in zip((1, 2), teacher(images, VISIBLE), strict=True):
        for image in range(2):
            visible = seen[image].flatten()
            with torch.no_grad():
                x = encoder._pos_embed(encoder.patch_embed(pixels[image : image + 1]))
                x = x[:, nn.functional.pad(visible, (1, 0), value=True)]
                theirs = decoder(encoder.norm(encoder.blocks(x)), visible, layer)
            ours = tokens[image].flatten(1).T
            assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_decoder_positions_are_interpolated_at_another_size(mae, images, tmp_path):
    teacher = ViTTeacher(weights=save(mae[2], tmp_path), layer=2, img_size=84, target='decoder')
    assert teacher(images, VISIBLE).shape == (2, 64, 6, 6)
    native = mae[2]['decoder_pos_embed']
    grid = native[:, 1:].reshape(1, 4, 4, 64).permute(0, 3, 1, 2)
    expected = nn.functional.interpolate(grid, (6, 6), mode='bicubic').flatten(2).transpose(1, 2)
    torch.testing.assert_close(teacher.decoder.decoder_pos_embed[:, 1:], expected)


def test_several_layers_and_teachers_are_listed_in_order(mae, images, tmp_path):
    path = save(mae[2], tmp_path)
    one = dict(type='hgkd_mm.ViTTeacher', weights=path, img_size=56)
    group = TeacherGroup([dict(one, layer=[3, 1]), dict(one, layer=2, target='visible', img_size=84)])
    assert not group.is_single
    assert group.token_shapes == [(128, 4, 4), (128, 4, 4), (128, 6, 6)]
    targets, defined = group(images, VISIBLE), group.defined(VISIBLE)
    for layer, target in zip((1, 3), targets, strict=False):
        torch.testing.assert_close(target, ViTTeacher(weights=path, layer=layer, img_size=56)(images))
    assert [part if part is None else tuple(part.shape) for part in defined] == [None, None, (2, 6, 6)]
    assert TeacherGroup(dict(one, layer=1)).is_single


def test_targets_that_cannot_be_are_refused(images, mae, tmp_path):
    plain = save(ref.weights(ref.NETWORKS['MAE']()), tmp_path)
    with pytest.raises(ConfigError, match="target='decoder': .*weights.pth has no decoder"):
        ViTTeacher(weights=plain, layer=1, img_size=56, target='decoder')
    with pytest.raises(ConfigError, match="target='some': expected one of"):
        ViTTeacher(weights=plain, layer=1, img_size=56, target='some')
    with pytest.raises(ConfigError, match=r'layer=\[1, 1\]: expected one block, or several different'):
        ViTTeacher(weights=plain, layer=[1, 1], img_size=56)
    teacher = ViTTeacher(weights=plain, layer=1, img_size=56, target='visible')
    with pytest.raises(ConfigError, match="target='visible' needs the student's mask: .*RandomPatchMask"):
        teacher(images)
    with pytest.raises(MaskError, match=r'no token of \(4, 4\) lies wholly in the visible patches of \(5, 5\)'):
        teacher(images, torch.eye(5).bool()[None].repeat(2, 1, 1).roll(1, 2))
    swin = save(ref.weights(ref.NETWORKS['SimMIM']()), tmp_path)
    with pytest.raises(ConfigError, match="target='visible': a Swin Transformer cannot leave tokens out"):
        ViTTeacher(weights=swin, layer=1, img_size=64, target='visible')
    decoder = save(mae[2], tmp_path)
    with pytest.raises(ConfigError, match="layer=3: the teacher's decoder has blocks 1..2"):
        ViTTeacher(weights=decoder, layer=3, img_size=56, target='decoder')
