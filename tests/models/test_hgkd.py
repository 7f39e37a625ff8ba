"""The three algorithms as models of mmengine."""

import copy

import pytest
import torch
from mmpretrain.structures import DataSample

from hgkd_mm.errors import ConfigError, MaskError
from hgkd_mm.registry import MODELS


def model_cfg(kind: str = 'HGKD', **kwargs) -> dict:
    head = dict(type='TokenDistillationHead', in_channels=32, embed_dims=16)
    if kind == 'SparK':
        head = dict(type='PixelReconstructionHead', in_channels=8)
    backbone = dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8, out_indices=(0, 1, 2, 3))
    channels = [8, 8, 16, 16] if kind == 'SparK' else [32, 32]
    neck = dict(type='UNetDecoder', in_channels=[8, 16, 32, 64], channels=channels, out_level=4 - len(channels))
    preprocessor = dict(type='mmpretrain.SelfSupDataPreprocessor', mean=[124, 116, 104], std=[58, 57, 57])
    return dict(type=kind, backbone=backbone, neck=neck, head=head, data_preprocessor=preprocessor, **kwargs)


def batch(size: int = 2, masked: bool = True, tokens: bool = True):
    torch.manual_seed(0)
    images = torch.randn(size, 3, 128, 128)
    samples = []
    for _ in range(size):
        sample = DataSample()
        if masked:
            sample.set_field((torch.arange(16) % 3 == 0).view(4, 4), 'visible')
        if tokens:
            sample.set_field(torch.randn(16, 8, 8), 'teacher_tokens')
        samples.append(sample)
    return images, samples


def total(losses: dict) -> torch.Tensor:
    return sum(value for key, value in losses.items() if 'loss' in key)


@pytest.mark.parametrize('kind', ['HGKD', 'SparK', 'DenseDistillation'])
def test_every_parameter_learns(kind):
    torch.manual_seed(0)
    model = MODELS.build(model_cfg(kind))
    total(model.loss(*batch())).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == ([f'neck.mask_tokens.{i}' for i in range(4)] if kind == 'DenseDistillation' else [])


@pytest.mark.parametrize('kind', ['HGKD', 'SparK'])
def test_backends_give_the_same_losses(kind):
    torch.manual_seed(0)
    packed = MODELS.build(model_cfg(kind)).double()
    masked = MODELS.build(model_cfg(kind, sparse=dict(backend='masked'))).double()
    masked.load_state_dict(packed.state_dict())
    images, samples = batch()
    one, other = (m.loss(images.double(), samples) for m in (packed, masked))
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], rtol=1e-6, atol=1e-6)


def test_hidden_pixels_do_not_change_the_loss_of_hgkd():
    model = MODELS.build(model_cfg())
    model.train(False)
    images, samples = batch()
    hidden = ~samples[0].visible.repeat_interleave(32, 0).repeat_interleave(32, 1)
    changed = images.masked_fill(hidden, 50.0)
    assert torch.equal(total(model.loss(images, samples)), total(model.loss(changed, samples)))


def test_from_whole_images_it_learns_what_dense_distillation_learns():
    torch.manual_seed(0)
    sparse, dense = MODELS.build(model_cfg()).double(), MODELS.build(model_cfg('DenseDistillation')).double()
    dense.load_state_dict(sparse.state_dict())
    images, samples = batch()
    for sample in samples:
        sample.set_field(torch.ones(4, 4, dtype=torch.bool), 'visible')
    for model in (sparse, dense):
        total(model.loss(images.double(), samples)).backward()
    expected = dict(dense.named_parameters())
    for name, parameter in sparse.named_parameters():
        if 'mask_token' in name:
            assert not parameter.grad.any()
        else:
            torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-6, atol=1e-9)


def test_a_whole_image_among_masked_ones_has_its_dense_features():
    torch.manual_seed(0)
    model = MODELS.build(model_cfg())
    model.train(False)
    images, samples = batch()
    samples[0].set_field(torch.ones(4, 4, dtype=torch.bool), 'visible')
    feats = model.sparse_forward(images, model.mask_of(images, samples))
    for sparse, dense in zip(feats, model.backbone(images), strict=True):
        torch.testing.assert_close(sparse[0], dense[0], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(sparse[1], dense[1], atol=1e-2)


@pytest.mark.parametrize('kind', ['HGKD', 'DenseDistillation'])
def test_a_global_head_adds_one_term_and_changes_nothing_else(kind):
    torch.manual_seed(0)
    plain = MODELS.build(model_cfg(kind))
    head = dict(type='LastStageHead', in_channels=64, embed_dims=16, weight=0.5)
    model = MODELS.build(model_cfg(kind, last_stage_head=head))
    keys = model.load_state_dict(plain.state_dict(), strict=False)
    assert not keys.unexpected_keys and all(key.startswith('last_stage_head.') for key in keys.missing_keys)
    losses, expected = model.loss(*batch()), plain.loss(*batch())
    value = losses.pop('loss_last_stage')
    assert losses.keys() == expected.keys() and all(torch.equal(losses[key], expected[key]) for key in losses)
    value.backward()
    assert model.backbone.layer4[1].conv2.weight.grad.any() and model.neck.blocks[0][0].weight.grad is None


@pytest.mark.parametrize('kind', ['HGKD', 'DenseDistillation'])
def test_every_stage_is_asked_by_a_head_of_its_own(kind):
    torch.manual_seed(0)
    head = dict(type='LastStageHead', embed_dims=16, weight=0.5, regions='cell')
    model, last = (MODELS.build(model_cfg(kind, last_stage_head=head, every_stage=every)) for every in (True, False))
    keys = last.load_state_dict(model.state_dict(), strict=False)
    assert not keys.missing_keys and all(key.startswith('earlier_stage_heads.') for key in keys.unexpected_keys)
    images, samples = batch()
    losses, expected = model.loss(images, samples), last.loss(images, samples)
    found = {name: losses.pop(name) for name in ('loss_stage0', 'loss_stage1', 'loss_stage2')}
    assert losses.keys() == expected.keys() and all(torch.equal(losses[name], expected[name]) for name in losses)
    feats = model.sparse_forward(images, model.mask_of(images, samples)) if kind == 'HGKD' else model.backbone(images)
    tokens = torch.stack([sample.teacher_tokens for sample in samples])
    mask = model.mask_of(images, samples) if kind == 'HGKD' else None
    for head, feat, value in zip(model.earlier_stage_heads, feats, found.values(), strict=False):
        torch.testing.assert_close(value, head.loss(feat, tokens, mask)['loss_last_stage'])
    found['loss_stage0'].backward()
    assert model.backbone.layer1[1].conv2.weight.grad.any() and model.backbone.layer2[0].conv1.weight.grad is None


def test_every_stage_needs_the_options_of_the_last():
    with pytest.raises(ConfigError, match='every_stage=True without a last_stage_head'):
        MODELS.build(model_cfg(every_stage=True))


def test_the_backbone_keeps_plain_keys_and_no_teacher_is_in_the_state():
    keys = set(MODELS.build(model_cfg()).state_dict())
    assert {'backbone.conv1.weight', 'backbone.layer4.1.bn2.running_var'} <= keys
    assert {key.split('.')[0] for key in keys} == {'backbone', 'neck', 'head'}


def test_overfitting_one_batch_explains_the_hidden_tokens():
    torch.manual_seed(0)
    model = MODELS.build(model_cfg())
    images, samples = batch(4)
    images = images * 0 + torch.randn(4, 3, 1, 1)  # four distinguishable images
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for _ in range(60):
        losses = model.loss(images, samples)
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
        history.append(losses)
    assert total(history[-1]) < 0.7 * total(history[0])
    assert history[-1]['explained_variance_masked'] > 0.2 > history[0]['explained_variance_masked']


def test_a_copy_of_the_model_has_its_own_mask_state():
    model = MODELS.build(model_cfg())
    twin = copy.deepcopy(model)
    assert twin.sparse_forward.backbone is twin.backbone
    assert twin.sparse_forward.context is not model.sparse_forward.context


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(masked=False), 'RandomPatchMask'), (dict(tokens=False), 'TeacherHook')],
)
def test_what_the_config_forgot_is_named(kwargs, message):
    model = MODELS.build(model_cfg())
    with pytest.raises(ConfigError, match=message):
        model.loss(*batch(**kwargs))


def test_a_mask_drawn_for_another_size_is_refused():
    model = MODELS.build(model_cfg())
    images, samples = batch()
    with pytest.raises(MaskError, match='4x4 patches of 32 px'):
        model.loss(images[..., :96], samples)
