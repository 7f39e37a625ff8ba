"""Principal component colours."""

import numpy as np
import torch

from hgkd_mm.visualization.tokens import pca_colours


def test_colours_follow_the_direction_of_largest_variance():
    tokens = torch.zeros(1, 5, 1, 4)
    tokens[0, 2, 0] = torch.tensor([-3.0, -1.0, 1.0, 3.0])
    (colours,) = pca_colours(tokens + 0.01 * torch.randn(1, 5, 1, 4, generator=torch.Generator().manual_seed(0)))
    assert colours.shape == (1, 1, 4, 3)
    assert np.all(np.diff(colours[0, 0, :, 0]) > 0) and colours.min() >= 0 and colours.max() <= 1


def test_a_perfect_prediction_has_the_teacher_s_colours_and_the_mean_token_one_colour():
    tokens = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    mean = tokens.mean((0, 2, 3), keepdim=True).expand_as(tokens)
    teacher, same, flat = pca_colours(tokens, tokens, mean)
    assert np.array_equal(teacher, same)
    assert np.ptp(flat, axis=(0, 1, 2)).max() < 1e-6 < np.ptp(teacher, axis=(0, 1, 2)).min()
