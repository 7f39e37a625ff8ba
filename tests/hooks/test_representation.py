import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hgkd_mm.hooks.representation import effective_rank, linear_cka, nearest_visible


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def rotation(size, seed=0):
    return torch.linalg.qr(random(size, size, seed=seed))[0]


def with_singular_values(values, rows=12):
    left, right = rotation(rows)[:, : len(values)], rotation(len(values), seed=1)
    return left * torch.tensor(values, dtype=torch.double) @ right


@pytest.mark.parametrize(
    ('values', 'rank'),
    [
        ([3, 0, 0, 0], 1),
        ([2, 2, 0, 0], 2),
        ([5, 5, 5, 5], 4),
        ([2, 1, 1], 8**0.5),  # entropy of 1/2, 1/4, 1/4 is 1.5 log 2
        ([0, 0], 0),
    ],
)
def test_rank_of_known_singular_values(values, rank):
    assert effective_rank(with_singular_values(values)) == pytest.approx(rank, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_rank_knows_neither_scale_nor_rotation_nor_order(seed, scale):
    features = random(20, 6, seed=seed) * torch.arange(1, 7)
    rank = effective_rank(features)
    assert 1 <= rank <= 6
    assert effective_rank(scale * features @ rotation(6, seed)) == pytest.approx(rank)
    assert effective_rank(features.flip(0)) == pytest.approx(rank)


def _hsic_by_matrices(k, m):
    """Song et al.'s formula as it stands there."""
    n, one = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    total = np.trace(k @ m) + one @ k @ one * (one @ m @ one) / (n - 1) / (n - 2) - 2 / (n - 2) * (one @ k @ m @ one)
    return total / n / (n - 3)


def test_cka_equals_the_formula_on_kernel_matrices():
    x, y = random(15, 7) + 3, random(15, 4, seed=1) - 1
    y[:, 0] += 2 * x[:, 0]
    k, m = (x @ x.T).numpy(), (y @ y.T).numpy()
    expected = _hsic_by_matrices(k, m) / np.sqrt(_hsic_by_matrices(k, k) * _hsic_by_matrices(m, m))
    assert 0.1 < expected < 0.9
    assert linear_cka(x, y) == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-10, 10))
def test_cka_knows_neither_rotation_nor_scale_nor_shift(seed, scale, shift):
    x, y = random(30, 5, seed=seed), random(30, 8, seed=seed + 1)
    y[:, :5] += x
    cka = linear_cka(x, y)
    assert linear_cka(scale * x @ rotation(5, seed) + shift, y) == pytest.approx(cka)
    assert linear_cka(y, x) == pytest.approx(cka)
    assert linear_cka(x.flip(0), y.flip(0)) == pytest.approx(cka)


def test_cka_of_a_representation_with_itself_turned_and_scaled_is_one():
    x = random(40, 6) * torch.arange(1, 7)
    assert linear_cka(x, x) == pytest.approx(1)
    assert linear_cka(x, 3 * x @ rotation(6) + 5) == pytest.approx(1)
    assert linear_cka(x, x @ torch.diag(torch.tensor([9.0, 0, 0, 0, 0, 0]).double())) < 0.9  # one direction alone


def test_unrelated_wide_features_are_not_alike():
    found = [linear_cka(random(20, 100, seed=i), random(20, 100, seed=1000 + i)) for i in range(50)]
    assert abs(np.mean(found)) < 0.02
    # the common, biased estimate takes chance for likeness here
    x, y = (random(20, 100, seed=i) for i in (0, 1000))
    x, y = x - x.mean(0), y - y.mean(0)
    assert (x.T @ y).norm() ** 2 / (x.T @ x).norm() / (y.T @ y).norm() > 0.7


def test_cka_of_a_constant_is_not_a_number_and_of_other_examples_an_error():
    assert np.isnan(linear_cka(torch.ones(5, 3), random(5, 3)))
    with pytest.raises(ValueError, match='found 5 and 6'):
        linear_cka(random(5, 3), random(6, 3))
    with pytest.raises(ValueError, match='4 or more'):
        linear_cka(random(3, 3), random(3, 3))


def _nearest_by_loops(tokens, visible):
    """One place after the other."""
    guess = torch.zeros_like(tokens)
    batch, _, height, width = tokens.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    for image in range(batch):
        for here in places:
            others = [there for there in places if visible[image][there] and there != here]
            squares = [(there[0] - here[0]) ** 2 + (there[1] - here[1]) ** 2 for there in others]
            near = [there for there, square in zip(others, squares, strict=True) if square == min(squares)]
            if near:
                guess[image, :, here[0], here[1]] = torch.stack([tokens[image, :, y, x] for y, x in near]).mean(0)
    return guess


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 5), st.floats(0, 1))
def test_nearest_visible_token_equals_loops(seed, height, width, share):
    tokens = random(3, 2, height, width, seed=seed)
    visible = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) < share
    guess = nearest_visible(tokens, visible)
    torch.testing.assert_close(guess, _nearest_by_loops(tokens, visible))
    # a mirrored image has the mirrored guess
    torch.testing.assert_close(nearest_visible(tokens.flip(-1), visible.flip(-1)), guess.flip(-1))


def test_hidden_tokens_do_not_change_the_guess():
    tokens, visible = random(2, 3, 4, 4), torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.4
    changed = torch.where(visible[:, None], tokens, tokens + 100)
    assert torch.equal(nearest_visible(tokens, visible), nearest_visible(changed, visible))
