import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgkd_mm.leaderboard.curves import pretraining_curves, thin


def _log(work_dir, name, lines):
    path = work_dir / name / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(map(json.dumps, lines)))


def test_curves_are_by_epoch_and_a_resumed_log_counts_where_both_have_a_value(tmp_path):
    _log(tmp_path, '20260101', [{'loss': 3.0, 'step': 5}, {'loss': 2.0, 'step': 10}, {'val/knn_top1': 12.5, 'step': 1}])
    _log(tmp_path, '20260102', [{'loss': 1.5, 'step': 10}, {'loss': float('nan'), 'step': 15}])
    assert pretraining_curves(tmp_path, batches=10) == {'loss': [(0.5, 3.0), (1.0, 1.5)], 'knn_top1': [(1.0, 12.5)]}


def test_without_a_log_there_are_no_curves(tmp_path):
    assert pretraining_curves(tmp_path, batches=10) == {}


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=700))
def test_thinned_curve_is_short_and_keeps_the_mean(values):
    points = [(float(i), v) for i, v in enumerate(values)]
    thinned = thin(points, 100)
    assert len(thinned) <= 100
    if len(points) <= 100:
        assert thinned == [(x, pytest.approx(y, abs=1e-6)) for x, y in points]
    elif len(points) % (-(-len(points) // 100)) == 0:  # groups of one size
        assert sum(y for _, y in thinned) / len(thinned) == pytest.approx(sum(values) / len(values), abs=1e-5)
