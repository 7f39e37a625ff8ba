import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgkd_mm.datasets.mask_schedule import MaskSchedule
from hgkd_mm.errors import ConfigError

POINTS = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 0.99)), min_size=1, max_size=5, unique_by=lambda point: point[0]
).map(sorted)


def test_ratio_follows_straight_lines_and_stays_at_the_ends():
    schedule = MaskSchedule([(0.2, 0.3), (0.6, 0.7)])
    found = [schedule.ratio(progress) for progress in (0, 0.2, 0.3, 0.5, 0.6, 1)]
    assert found == pytest.approx([0.3, 0.3, 0.4, 0.6, 0.7, 0.7])
    assert MaskSchedule().ratio(0.5) is None


@given(POINTS, st.floats(0, 1))
def test_mean_ratio_is_the_mean_over_time_and_images(points, share):
    schedule = MaskSchedule(points, share)
    times = (np.arange(20_000) + 0.5) / 20_000
    mean = np.mean([schedule.ratio(time) for time in times[::10]])
    assert schedule.mean_ratio(0.1) == pytest.approx(mean * (1 - share), abs=2e-3)


def test_without_points_the_pipelines_ratio_counts():
    assert MaskSchedule(unmasked_share=0.25).mean_ratio(0.6) == pytest.approx(0.45)
    assert MaskSchedule().mean_ratio(0.6) == 0.6
    assert MaskSchedule(unmasked_share=0.25).mean_ratio(None) is None


def test_number_of_whole_images_is_rounded():
    assert [MaskSchedule(unmasked_share=share).num_unmasked(16) for share in (0, 0.25, 0.3, 1)] == [0, 4, 5, 16]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(unmasked_share=1.5), r'unmasked_share=1.5, expected a share in \[0, 1\]'),
        (dict(unmasked_share='half'), "unmasked_share='half'"),
        (dict(mask_ratio=[]), 'expected points'),
        (dict(mask_ratio=[0.3, 0.6]), 'expected points'),
        (dict(mask_ratio=[(0, 0.3), (1,)]), 'expected points'),
        (dict(mask_ratio='0.6'), 'expected points'),
        (dict(mask_ratio=[(0.5, 0.3), (0.5, 0.4)]), 'times rising'),
        (dict(mask_ratio=[(0, 0.3), (2, 0.4)]), 'times rising'),
        (dict(mask_ratio=[(0, 1.0)]), r'ratios in \[0, 1\)'),
        (dict(mask_ratio=[(0, float('nan'))]), r'ratios in \[0, 1\)'),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        MaskSchedule(**options)
