import pytest
import torch
import torch.nn.functional as F

from hgkd_mm.errors import ConfigError
from hgkd_mm.models import LastStageHead
from hgkd_mm.models.losses import TOKEN_DISTANCES, relation_distance
from hgkd_mm.sparse import PatchMask

MASK = PatchMask(torch.tensor([[[1, 0], [0, 0]], [[0, 1], [1, 0]], [[1, 1], [1, 1]]], dtype=torch.bool), 32)


def inputs():
    torch.manual_seed(0)
    return torch.randn(3, 5, 2, 2), torch.randn(3, 8, 4, 4) + 2


def target_of(tokens):
    mean = F.layer_norm(tokens.flatten(2).transpose(1, 2), (8,)).mean(1)
    return (mean - mean.mean(0)) / (mean.var(0, unbiased=False) + 1e-5).sqrt()


@pytest.mark.parametrize('distance', [*TOKEN_DISTANCES, 'relation'])
def test_visible_positions_are_pooled_and_compared_with_the_mean_token(distance):
    head = LastStageHead(5, 8, distance, weight=3.0)
    feat, tokens = inputs()
    pooled = torch.stack([feat[0, :, 0, 0], (feat[1, :, 0, 1] + feat[1, :, 1, 0]) / 2, feat[2].mean((1, 2))])
    target = target_of(tokens)
    if distance == 'relation':
        expected = relation_distance(pooled[None], target[None])
        assert not list(head.parameters())
    else:
        prediction = pooled @ head.projection.weight.T + head.projection.bias
        expected = TOKEN_DISTANCES[distance](prediction, target).mean()
    torch.testing.assert_close(head.loss(feat, tokens, MASK)['loss_last_stage'], 3 * expected)


@pytest.mark.parametrize('distance', ['cosine', 'smooth_l1', 'relation'])
def test_visible_cells_are_compared_with_the_tokens_at_their_place(distance):
    head = LastStageHead(5, 8, distance, weight=3.0, regions='cell')
    feat, tokens = inputs()
    normal = F.layer_norm(tokens.movedim(1, -1), (8,))
    cells = MASK.grid(2, 2)[:, 0].nonzero().tolist()
    seen = torch.stack([feat[image, :, row, column] for image, row, column in cells])
    mean = torch.stack(
        [normal[image, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((0, 1)) for image, row, column in cells]
    )
    target = (mean - mean.mean(0)) / (mean.var(0, unbiased=False) + 1e-5).sqrt()
    if distance == 'relation':
        expected = relation_distance(seen[None], target[None])
    else:
        prediction = seen @ head.projection.weight.T + head.projection.bias
        expected = TOKEN_DISTANCES[distance](prediction, target).mean()
    torch.testing.assert_close(head.loss(feat, tokens, MASK)['loss_last_stage'], 3 * expected)


def test_a_finer_stage_is_pooled_to_the_tokens():
    head = LastStageHead(5, 8, regions='cell')
    _, tokens = inputs()
    feat = torch.randn(3, 5, 8, 8)  # four positions a token, of which all or none are visible
    cells = MASK.grid(4, 4)[:, 0].nonzero().tolist()
    seen = torch.stack(
        [
            feat[image, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((1, 2))
            for image, row, column in cells
        ]
    )
    target = torch.stack([F.layer_norm(tokens[image, :, row, column], (8,)) for image, row, column in cells])
    target = (target - target.mean(0)) / (target.var(0, unbiased=False) + 1e-5).sqrt()
    prediction = seen @ head.projection.weight.T + head.projection.bias
    expected = TOKEN_DISTANCES['cosine'](prediction, target).mean()
    torch.testing.assert_close(head.loss(feat, tokens, MASK)['loss_last_stage'], expected)


@pytest.mark.parametrize('regions', ['image', 'cell'])
def test_hidden_features_and_undefined_tokens_do_not_matter(regions):
    feat, tokens = inputs()
    defined = torch.rand(3, 4, 4) < 0.5
    head = LastStageHead(5, 8, regions=regions).eval()
    other = torch.where(MASK.grid(2, 2), feat, 7.0)
    others = torch.where(defined[:, None], tokens, 7.0)
    losses = [head.loss(*values, MASK, defined)['loss_last_stage'] for values in ((feat, tokens), (other, others))]
    assert torch.equal(*losses)


def test_only_the_student_gets_a_gradient():
    feat, tokens = (values.requires_grad_() for values in inputs())
    LastStageHead(5, 8).loss(feat, tokens, None)['loss_last_stage'].backward()
    assert tokens.grad is None and feat.grad.any()


def test_wrong_options_and_targets_are_named():
    with pytest.raises(ConfigError, match="unknown distance 'l3' of LastStageHead: choose one of .*relation"):
        LastStageHead(5, 8, 'l3')
    with pytest.raises(ConfigError, match="unknown regions 'row' of LastStageHead: choose one of image, cell"):
        LastStageHead(5, 8, regions='row')
    feat, tokens = inputs()
    with pytest.raises(ConfigError, match='embed_dims=9; the tokens are 8 wide'):
        LastStageHead(5, 9).loss(feat, tokens, None)
    with pytest.raises(ConfigError, match='the tokens are 2 targets'):
        LastStageHead(5, 8).loss(feat, [tokens, tokens], None)
