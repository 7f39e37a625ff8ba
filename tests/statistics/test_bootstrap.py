import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hgkd_mm.statistics.bootstrap import cluster_bootstrap


def draw(rng, clusters=40, spread=1.0, shift=0.0):
    """Examples of clusters of 2 to 12, whose own means spread around ``shift``."""
    sizes = rng.integers(2, 13, clusters)
    names = np.repeat([f'c{i}' for i in range(clusters)], sizes)
    means = np.repeat(rng.normal(shift, spread, clusters), sizes)
    return list(means + rng.normal(0, 1, sizes.sum())), list(names)


def test_of_single_examples_it_is_the_bootstrap_of_scipy():
    values = np.random.default_rng(0).gamma(1.0, 1.0, 50)
    expected = stats.bootstrap(
        (values,), np.mean, method='BCa', n_resamples=9999, rng=np.random.default_rng(0)
    ).confidence_interval
    found = cluster_bootstrap(list(values), [str(i) for i in range(50)])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.clusters, found.examples) == (pytest.approx(values.mean()), 50, 50)


def test_the_mean_is_over_examples_not_over_clusters():
    found = cluster_bootstrap([1, 1, 1, 0, 0.5], ['a', 'a', 'a', 'b', 'c'])
    assert found.mean == pytest.approx(0.7)
    assert found.low <= found.mean <= found.high


def test_copies_of_an_example_add_no_certainty():
    values, names = draw(np.random.default_rng(0), clusters=20)
    once, often = cluster_bootstrap(values, names), cluster_bootstrap(values * 5, names * 5)
    assert often[:4] == pytest.approx(once[:4])
    assert often.examples == 5 * once.examples


def test_width_is_that_of_the_linearised_standard_error():
    values, names = draw(np.random.default_rng(0), clusters=400)
    found = cluster_bootstrap(values, names)
    rest = np.asarray(values) - found.mean
    _, index = np.unique(names, return_inverse=True)
    error = np.sqrt((np.bincount(index, rest) ** 2).sum()) / len(values)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-100, 100))
def test_bounds_follow_shift_sign_and_names(seed, shift):
    values, names = draw(np.random.default_rng(seed), clusters=8)

    def bounds(values, names):
        return np.array(cluster_bootstrap(values, names, resamples=199)[:3])

    expected = bounds(values, names)
    np.testing.assert_allclose(bounds([v + shift for v in values], names), expected + shift, atol=1e-9)
    np.testing.assert_allclose(bounds([-v for v in values], names), -expected[[0, 2, 1]], atol=1e-9)
    np.testing.assert_allclose(bounds(values, [f'other {name}' for name in names]), expected)


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_of_the_examples_moves_bounds_by_no_more_than_the_draws_do(random):
    values, names = draw(np.random.default_rng(5), clusters=30)
    found = cluster_bootstrap(values, names)
    order = random.sample(range(len(values)), len(values))
    other = cluster_bootstrap([values[i] for i in order], [names[i] for i in order])
    assert other.mean == pytest.approx(found.mean)
    width = found.high - found.low
    assert (other.low, other.high) == pytest.approx((found.low, found.high), abs=0.08 * width)  # six standard errors


def test_intervals_hold_the_truth_where_those_over_images_do_not():
    rng, over_clusters, over_images = np.random.default_rng(0), [], []
    for _ in range(300):
        values, names = draw(rng, clusters=40, shift=3.0)
        found = cluster_bootstrap(values, names, resamples=499)
        over_clusters.append(found.low <= 3.0 <= found.high)
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        over_images.append(low <= 3.0 <= high)
    assert 0.91 <= np.mean(over_clusters) <= 0.98
    assert np.mean(over_images) < 0.75


def test_without_spread_the_interval_is_a_point():
    assert cluster_bootstrap([1.0] * 6, list('aabbcc'))[:3] == (1.0, 1.0, 1.0)


def test_what_cannot_be_estimated_is_an_error():
    with pytest.raises(ValueError, match='1 cluster: nothing to estimate'):
        cluster_bootstrap([1.0, 0.0], ['a', 'a'])
    with pytest.raises(ValueError, match='2 values for 1 names'):
        cluster_bootstrap([1.0, 0.0], ['a'])
