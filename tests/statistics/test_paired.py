import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hgkd_mm.statistics.paired import paired_interval, paired_p, sign_flip_p

# whole numbers: sums are exact, so that equal means compare as equal
DIFFERENCES = st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=8)


def test_paired_p_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for n in (2, 3, 10):
        one, other = rng.normal(1, 1, n), rng.normal(0, 1, n)
        assert paired_p(list(one - other)) == pytest.approx(stats.ttest_rel(one, other).pvalue, rel=1e-9)
    assert paired_p([1.0]) is None
    assert paired_p([1.0, 1.0]) is None


def test_paired_interval_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for n, level in ((2, 0.95), (5, 0.9), (12, 0.99)):
        values = rng.normal(1, 2, n)
        expected = stats.t.interval(level, n - 1, values.mean(), stats.sem(values))
        assert paired_interval(list(values), level) == pytest.approx(expected)
    assert paired_interval([1.0]) is None
    assert paired_interval([1.5, 1.5, 1.5]) == (1.5, 1.5)


@given(DIFFERENCES)
def test_the_interval_leaves_zero_out_exactly_when_p_is_small(values):
    p, (low, high) = paired_p(values), paired_interval(values)
    if p is not None and abs(p - 0.05) > 1e-6:
        assert (low > 0 or high < 0) == (p < 0.05)


def _all_signs(values):
    """The definition, one assignment of signs after the other."""
    observed, extreme = abs(sum(values)), 0
    for bits in range(2 ** len(values)):
        flipped = sum(v if bits >> i & 1 else -v for i, v in enumerate(values))
        extreme += abs(flipped) >= observed
    return extreme / 2 ** len(values)


@settings(max_examples=30, deadline=None)
@given(DIFFERENCES)
def test_sign_flip_p_counts_all_signs(values):
    assert sign_flip_p(values) == pytest.approx(_all_signs(values))


@settings(max_examples=20, deadline=None)
@given(DIFFERENCES, st.randoms(use_true_random=False))
def test_sign_flip_p_knows_neither_order_nor_direction_nor_unit(values, random):
    p = sign_flip_p(values)
    shuffled = random.sample(values, len(values))
    assert sign_flip_p(shuffled) == sign_flip_p([-v for v in values]) == sign_flip_p([8 * v for v in values]) == p


def test_smallest_sign_flip_p_is_two_in_all_assignments():
    assert sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0]) == 2 / 2**5
    assert sign_flip_p([0.0, 0.0]) == 1
    assert sign_flip_p([3.0]) is None


def test_of_many_pairs_signs_are_drawn():
    values = list(np.random.default_rng(1).normal(0.4, 1, 24))
    p = sign_flip_p(values)
    assert p == sign_flip_p(values)  # by its seed
    assert p == pytest.approx(paired_p(values), abs=0.01)  # of normal differences the two tests agree


def test_p_values_of_no_effect_are_uniform():
    rng = np.random.default_rng(0)
    small = [[paired_p(d) < 0.1, sign_flip_p(d) < 0.1] for d in rng.normal(0, 1, (400, 8)).tolist()]
    assert np.mean(small, axis=0) == pytest.approx([0.1, 0.1], abs=0.03)
