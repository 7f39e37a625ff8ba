"""Curves come from the log, and only from one that has them."""

import json

import pytest
from PIL import Image

from hgkd_mm.errors import DataError
from hgkd_mm.visualization.curves import draw_explained_variance, read_scalars


def write_log(work_dir, run: str, lines: list[dict]) -> None:
    path = work_dir / run / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(map(json.dumps, lines)))


def test_resumed_runs_are_read_in_order_and_drawn(tmp_path):
    write_log(tmp_path, '20260102', [{'step': 2, 'explained_variance_masked': 0.2}])
    write_log(tmp_path, '20260101', [{'step': 1, 'explained_variance_masked': 0.1}])
    assert [line['step'] for line in read_scalars(tmp_path)] == [1, 2]
    with Image.open(draw_explained_variance(tmp_path, tmp_path / 'curve.png')) as picture:
        assert picture.format == 'PNG' and min(picture.size) > 300


def test_a_folder_without_a_log_is_named(tmp_path):
    with pytest.raises(DataError, match=r'scalars\.json'):
        draw_explained_variance(tmp_path, tmp_path / 'curve.png')


def test_a_log_of_another_method_is_refused_and_nothing_is_written(tmp_path):
    write_log(tmp_path, 'run', [{'step': 1, 'loss': 1.0}])
    with pytest.raises(DataError, match='explained_variance'):
        draw_explained_variance(tmp_path, tmp_path / 'curve.png')
    assert not (tmp_path / 'curve.png').exists()
