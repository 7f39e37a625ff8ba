"""Token distances against formulas written out."""

import math

import pytest
import torch

from hgkd_mm.models.losses import (
    TOKEN_DISTANCES,
    explained_variance,
    mean_over,
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
