from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgkd_mm.statistics.holm import holm

P_VALUES = st.lists(st.floats(0, 1), min_size=0, max_size=6)


def _closed_testing(p_values):
    """The definition: reject what Bonferroni's test rejects in every set of hypotheses that contains it."""
    numbers = range(len(p_values))
    sets = [chosen for size in range(1, len(p_values) + 1) for chosen in combinations(numbers, size)]
    return [
        max(min(1, len(chosen) * min(p_values[j] for j in chosen)) for chosen in sets if i in chosen) for i in numbers
    ]


@given(P_VALUES)
def test_equals_closed_testing_with_bonferroni(p_values):
    assert holm(p_values) == pytest.approx(_closed_testing(p_values))


@given(P_VALUES, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_nothing_becomes_smaller(p_values, random):
    order = random.sample(range(len(p_values)), len(p_values))
    adjusted = holm(p_values)
    assert holm([p_values[i] for i in order]) == pytest.approx([adjusted[i] for i in order])
    assert all(p <= after <= 1 for p, after in zip(p_values, adjusted, strict=True))


def test_example_by_hand():
    # 0.01 * 3; max(0.03, 0.02 * 2) = 0.04; max(0.04, 0.03 * 1) = 0.04
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


def test_false_claims_among_many_comparisons_are_rare():
    rng = np.random.default_rng(0)
    claims = [min(holm(p)) < 0.05 for p in rng.uniform(size=(1000, 7)).tolist()]
    assert np.mean(claims) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize('wrong', [[0.5, 1.2], [-0.1], [float('nan')]])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(ValueError, match=r'in \[0, 1\]'):
        holm(wrong)
