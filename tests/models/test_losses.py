"""Token distances against formulas written out."""

import math

import pytest
import torch

from hgkd_mm.models.losses import (
    TOKEN_DISTANCES,
    explained_variance,
    mean_over,
    relation_distance,
    token_distribution_divergence,
)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('mse', [(0.25 + 4) / 2, 0]),
        ('smooth_l1', [(0.5 * 0.25 + (2 - 0.5)) / 2, 0]),
        ('cosine', [1 - (0.5 * 1 + 0 * 2) / (0.5 * math.sqrt(5)), 0]),
    ],
)
def test_distances(name, expected):
    prediction = torch.tensor([[0.5, 0.0], [3.0, 4.0]])
    target = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    torch.testing.assert_close(TOKEN_DISTANCES[name](prediction, target), torch.tensor(expected))


def test_divergence_is_the_sum_over_channels():
    prediction, target = torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 1.0]])
    p, q = (target / 2).softmax(-1)[0], (prediction / 2).softmax(-1)[0]
    expected = 4 * sum(p[i] * (p[i] / q[i]).log() for i in range(2))
    torch.testing.assert_close(token_distribution_divergence(prediction, target, 2.0)[0], expected)
    assert token_distribution_divergence(target, target).item() == 0


def test_mean_over_counts_only_where():
    values, where = torch.tensor([1.0, 2.0, 9.0]), torch.tensor([True, True, False])
    assert mean_over(values, where) == 1.5
    assert mean_over(values, torch.zeros(3, dtype=torch.bool)) == 0


def test_explained_variance_is_one_for_the_target_and_zero_for_the_mean_token():
    target = torch.randn(50, 7)
    where = torch.arange(50) < 30
    mean = target[where].mean(0).expand_as(target)
    assert explained_variance(target, target, where) == 1
    torch.testing.assert_close(explained_variance(mean, target, where), torch.tensor(0.0), atol=1e-5, rtol=0)


def test_relations_are_compared_pair_by_pair():
    torch.manual_seed(0)
    prediction, target = torch.randn(3, 4, 5), torch.randn(3, 4, 7)
    where = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0]], dtype=torch.bool)

    def cosine(a, b):
        return a @ b / a.norm() / b.norm()

    squares = [
        (cosine(prediction[g, i], prediction[g, j]) - cosine(target[g, i], target[g, j])) ** 2
        for g in range(3)
        for i in range(4)
        for j in range(4)
        if i != j and where[g, i] and where[g, j]
    ]
    assert len(squares) == 12 + 6
    torch.testing.assert_close(relation_distance(prediction, target, where), torch.stack(squares).mean())


def test_relations_know_neither_rotation_nor_length_nor_order():
    torch.manual_seed(0)
    tokens, other = torch.randn(2, 6, 5), torch.randn(2, 6, 5)
    rotation = torch.linalg.qr(torch.randn(5, 5))[0]
    turned = tokens @ rotation * torch.rand(2, 6, 1).add(0.1)
    assert relation_distance(turned, tokens) < 1e-10 < 0.1 < relation_distance(other, tokens)
    torch.testing.assert_close(relation_distance(turned, other), relation_distance(tokens, other))
    order = torch.randperm(6)
    torch.testing.assert_close(relation_distance(tokens[:, order], other[:, order]), relation_distance(tokens, other))


def test_relations_of_single_members_are_none_and_gradients_are_those_of_differences():
    assert relation_distance(torch.randn(3, 1, 5), torch.randn(3, 1, 5)) == 0
    torch.manual_seed(0)
    prediction = torch.randn(2, 3, 4, dtype=torch.double, requires_grad=True)
    target = torch.randn(2, 3, 4, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda p: relation_distance(p, target), (prediction,))
