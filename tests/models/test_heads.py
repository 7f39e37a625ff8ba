"""Targets and losses of the heads."""

import pytest
import torch
import torch.nn.functional as F

from hgkd_mm.errors import ConfigError
from hgkd_mm.models import PixelReconstructionHead, SeveralTargetsHead, TokenDistillationHead
from hgkd_mm.models.heads import patchify
from hgkd_mm.models.losses import relation_distance, token_distribution_divergence
from hgkd_mm.models.teachers import visible_tokens
from hgkd_mm.sparse import PatchMask


def mask_of(*rows) -> PatchMask:
    return PatchMask(torch.tensor([rows], dtype=torch.bool), 32)


def test_targets_are_layer_normalised_then_standardised_per_channel():
    tokens = torch.randn(3, 16, 4, 4) * torch.arange(1, 17).view(1, -1, 1, 1) + 5
    target = TokenDistillationHead(8, 16).targets(tokens)
    torch.testing.assert_close(target.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(target.var(0, unbiased=False), torch.ones(16), atol=1e-3, rtol=0)
    naive = F.layer_norm(tokens.permute(0, 2, 3, 1).reshape(-1, 16), (16,))
    naive = (naive - naive.mean(0)) / (naive.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(target, naive, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('distance', ['smooth_l1', 'mse', 'cosine'])
def test_loss_equals_a_loop_over_positions(distance):
    torch.manual_seed(0)
    head = TokenDistillationHead(8, 16, distance, masked_weight=2.0, visible_weight=0.5)
    decoded, tokens = torch.randn(1, 8, 8, 8), torch.randn(1, 16, 4, 4)
    mask = mask_of([1, 0], [0, 0])
    losses = head.loss(decoded, tokens, mask)
    head.train()
    prediction = head.predict(decoded, (4, 4)).detach()
    target = head.targets(tokens).view(1, 4, 4, 16)
    values = {'masked': [], 'visible': []}
    for y in range(4):
        for x in range(4):
            p, t = prediction[0, :, y, x], target[0, y, x]
            value = {
                'smooth_l1': lambda p, t: F.smooth_l1_loss(p, t),
                'mse': lambda p, t: ((p - t) ** 2).mean(),
                'cosine': lambda p, t: 1 - p @ t / p.norm() / t.norm(),
            }[distance](p, t)
            values['visible' if y < 2 and x < 2 else 'masked'].append(value)
    torch.testing.assert_close(losses['loss_masked'].detach(), 2 * torch.stack(values['masked']).mean())
    torch.testing.assert_close(losses['loss_visible'].detach(), 0.5 * torch.stack(values['visible']).mean())


def test_without_a_mask_every_position_is_visible():
    head = TokenDistillationHead(8, 16)
    losses = head.loss(torch.randn(2, 8, 4, 4), torch.randn(2, 16, 4, 4), None)
    assert set(losses) == {'loss_visible', 'explained_variance_visible'}


def test_a_weight_of_zero_drops_the_term_and_distribution_adds_one():
    head = TokenDistillationHead(8, 16, visible_weight=0, distribution_weight=0.1)
    losses = head.loss(torch.randn(1, 8, 4, 4), torch.randn(1, 16, 4, 4), mask_of([1, 0], [0, 1]))
    assert {key for key in losses if key.startswith('loss')} == {'loss_masked', 'loss_distribution'}


@pytest.mark.parametrize(('masked_weight', 'visible_weight'), [(1.0, 1.0), (1.0, 0.0), (0.0, 2.0), (0.0, 0.0)])
def test_distributions_are_compared_where_the_distance_has_a_weight(masked_weight, visible_weight):
    torch.manual_seed(0)
    head = TokenDistillationHead(8, 16, 'mse', masked_weight, visible_weight, distribution_weight=0.1).eval()
    decoded, tokens, mask = torch.randn(1, 8, 4, 4), torch.randn(1, 16, 4, 4), mask_of([1, 0], [0, 0])
    found = head.loss(decoded, tokens, mask)['loss_distribution']
    divergence = token_distribution_divergence(head.predict(decoded, (4, 4))[0].flatten(1).T, head.targets(tokens))
    seen = torch.zeros(4, 4, dtype=torch.bool)
    seen[:2, :2] = True
    both = masked_weight == visible_weight
    where = torch.ones(16, dtype=torch.bool) if both else (seen if visible_weight else ~seen).flatten()
    torch.testing.assert_close(found, 0.1 * divergence[where].mean())


def test_relations_between_the_tokens_of_an_image_are_one_more_term():
    torch.manual_seed(0)
    plain, head = TokenDistillationHead(8, 16), TokenDistillationHead(8, 16, relation_weight=0.5)
    head.load_state_dict(plain.state_dict())
    decoded, tokens, mask = torch.randn(1, 8, 4, 4), torch.randn(1, 16, 4, 4), mask_of([1, 0], [0, 1])
    losses = head.loss(decoded, tokens, mask)
    for name, value in plain.loss(decoded, tokens, mask).items():
        assert torch.equal(value, losses.pop(name))
    prediction = plain.predict(decoded, (4, 4)).flatten(2).transpose(1, 2)
    expected = 0.5 * relation_distance(prediction, plain.targets(tokens)[None])
    torch.testing.assert_close(losses, {'loss_relation': expected})


def test_relations_are_between_defined_tokens_alone():
    torch.manual_seed(0)
    head = TokenDistillationHead(8, 16, relation_weight=1.0).eval()
    decoded, tokens = torch.randn(2, 8, 4, 4), torch.randn(2, 16, 4, 4)
    defined = torch.rand(2, 4, 4) < 0.6
    loss = head.loss(decoded, tokens, None, defined)['loss_relation']
    prediction = head.predict(decoded, (4, 4)).flatten(2).transpose(1, 2)
    expected = relation_distance(prediction, head.targets(tokens).view(2, 16, 16), defined.flatten(1))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert head.projection.weight.grad.any()


def test_teacher_tokens_get_no_gradient():
    tokens = torch.randn(1, 16, 4, 4, requires_grad=True)
    losses = TokenDistillationHead(8, 16).loss(torch.randn(1, 8, 4, 4), tokens, None)
    losses['loss_visible'].backward()
    assert tokens.grad is None


def test_unknown_distance_is_refused_by_name():
    with pytest.raises(ConfigError, match="'l3'.*smooth_l1, mse, cosine"):
        TokenDistillationHead(8, 16, distance='l3')


def test_pixel_loss_counts_hidden_patches_alone_and_is_zero_for_their_normalised_pixels():
    torch.manual_seed(0)
    images = torch.randn(1, 3, 64, 64)
    mask = mask_of([1, 0], [0, 1])
    head = PixelReconstructionHead(48, stride=4)
    torch.nn.init.zeros_(head.projection.bias)
    head.projection.weight.data = torch.eye(48)[:, :, None, None]
    patches = patchify(images, 32)
    patches = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    target = patches.view(1, 2, 2, 3, 32, 32).permute(0, 3, 1, 4, 2, 5).reshape(1, 3, 64, 64)
    decoded = F.pixel_unshuffle(target, 4)
    assert head.loss(decoded, images, mask)['loss'].item() < 1e-10
    wrong_where_seen = decoded.masked_fill(mask.grid(16, 16), 7)
    assert head.loss(wrong_where_seen, images, mask)['loss'].item() < 1e-10
    assert head.loss(torch.zeros_like(decoded), images, mask)['loss'].item() == pytest.approx(1, abs=1e-3)


def test_a_token_partly_hidden_counts_as_masked():
    head = TokenDistillationHead(8, 16)
    decoded, tokens = torch.randn(1, 8, 3, 3), torch.randn(1, 16, 3, 3)
    losses = head.loss(decoded, tokens, mask_of([1, 0], [1, 0]))  # the middle column lies in both
    prediction = head.predict(decoded, (3, 3))[0].flatten(1).T
    distances = F.smooth_l1_loss(prediction, head.targets(tokens), reduction='none').mean(-1).view(3, 3)
    torch.testing.assert_close(losses['loss_visible'], distances[:, :1].mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses['loss_masked'], distances[:, 1:].mean(), rtol=1e-4, atol=1e-5)


def test_undefined_tokens_change_neither_losses_nor_statistics_nor_gradients():
    torch.manual_seed(0)
    defined = torch.tensor([[[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]]).bool()
    mask, tokens = mask_of([1, 0], [0, 0]), torch.randn(1, 16, 4, 4)
    garbage = torch.where(defined[:, None], tokens, torch.nan)
    seen = []
    for values in (tokens, garbage):
        torch.manual_seed(1)
        head = TokenDistillationHead(8, 16, distribution_weight=0.1)
        decoded = torch.randn(1, 8, 4, 4, requires_grad=True)
        losses = head.loss(decoded, values, mask, defined)
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        assert (decoded.grad.abs().sum(1) > 0).equal(defined)
        seen.append([*losses.values(), head.standardize.running_mean.clone(), decoded.grad])
    for one, other in zip(*seen, strict=True):
        assert torch.equal(one, other)


def test_places_about_which_the_teacher_says_nothing_have_no_term():
    decoded, tokens, mask = torch.randn(1, 8, 4, 4), torch.randn(1, 16, 4, 4), mask_of([1, 0], [0, 1])
    seen = visible_tokens(mask.visible, (4, 4))
    for defined, name in ((seen, 'visible'), (~seen, 'masked')):
        losses = TokenDistillationHead(8, 16).loss(decoded, tokens, mask, defined)
        assert set(losses) == {f'loss_{name}', f'explained_variance_{name}'}


def test_several_targets_have_the_losses_of_their_heads():
    torch.manual_seed(0)
    config = dict(type='TokenDistillationHead', in_channels=8)
    several = SeveralTargetsHead([dict(config, embed_dims=16), dict(config, embed_dims=4, distance='mse')])
    decoded, mask = torch.randn(1, 8, 4, 4), mask_of([1, 0], [0, 1])
    tokens = [torch.randn(1, 16, 4, 4), torch.randn(1, 4, 6, 6)]
    defined = [None, visible_tokens(mask.visible, (6, 6))]
    losses = several.loss(decoded, tokens, mask, defined)
    for number, head in enumerate(several.heads):
        for name, value in head.loss(decoded, tokens[number], mask, defined[number]).items():
            torch.testing.assert_close(losses.pop(f'{name}_{number}'), value)
    assert losses == {}


def test_targets_that_do_not_fit_the_head_are_refused():
    decoded, tokens = torch.randn(1, 8, 4, 4), torch.randn(1, 4, 4, 4)
    with pytest.raises(ConfigError, match='tokens are 4 wide, the head has embed_dims=16'):
        TokenDistillationHead(8, 16).loss(decoded, tokens, None)
    with pytest.raises(ConfigError, match='2 targets for one TokenDistillationHead.*SeveralTargetsHead'):
        TokenDistillationHead(8, 4).loss(decoded, [tokens, tokens], None)
    heads = SeveralTargetsHead([dict(type='TokenDistillationHead', in_channels=8, embed_dims=4)] * 2)
    with pytest.raises(ConfigError, match='1 targets for 2 heads'):
        heads.loss(decoded, tokens, None)


def test_targets_that_are_not_standardised_are_layer_normalised_alone():
    tokens = torch.randn(3, 16, 4, 4) * torch.arange(1, 17).view(1, -1, 1, 1) + 5
    target = TokenDistillationHead(8, 16, standardize=False).targets(tokens)
    naive = F.layer_norm(tokens.permute(0, 2, 3, 1).reshape(-1, 16), (16,))
    torch.testing.assert_close(target, naive, atol=1e-6, rtol=1e-6)
