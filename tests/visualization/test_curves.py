"""Curves come from the log, and only from one that has them."""

import json
from pathlib import Path
from unittest.mock import patch

import pytest
from matplotlib.axes import Axes
from PIL import Image

from hgkd_mm.errors import DataError
from hgkd_mm.leaderboard.collect import Run, make_tables
from hgkd_mm.leaderboard.record import PretrainingRecord, load_sealed
from hgkd_mm.visualization.curves import (
    draw_explained_variance,
    draw_learning_curves,
    draw_pretraining_curves,
    read_scalars,
)


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


def test_learning_curves_are_means_of_runs_and_the_same_bytes_each_time(tmp_path, record_factory):
    runs = [
        Run(Path(str(seed)), record_factory(40.0, seed=seed, curve=curve))
        for seed, curve in enumerate([(10, 30), (20, 40)])
    ]
    tables = make_tables(runs)
    with patch.object(Axes, 'plot', autospec=True, side_effect=Axes.plot) as plot:
        draw_learning_curves(tables, tmp_path / 'curves.png')
    assert [(*call.args[1:], call.kwargs) for call in plot.mock_calls] == [
        ([1, 2], [15, 35], {'label': 'from scratch', 'color': 'C0', 'marker': '.'})
    ]
    first, again = (draw_learning_curves(tables, tmp_path / name).read_bytes() for name in ('a.svg', 'b.svg'))
    assert first == again and b'from scratch' in first


def test_a_start_has_one_colour_and_what_has_no_course_no_picture(tmp_path, record_factory, hgkd_facts):
    def protocol(epochs):
        return dict(epochs=epochs, batch_size=32, resolution=128, recipe='AdamW')

    facts = [
        (None, (10, 30), 2),
        (hgkd_facts, (20, 40), 2),
        (dict(hgkd_facts, epochs=40), (30, 50), 2),
        (hgkd_facts, (25, 45, 50), 3),
        (None, (15,), 1),
    ]
    runs = [
        Run(Path(str(number)), record_factory(curve[-1], curve=curve, pretraining=pre, protocol=protocol(length)))
        for number, (pre, curve, length) in enumerate(facts)
    ]
    with patch.object(Axes, 'plot', autospec=True, side_effect=Axes.plot) as plot:
        draw_learning_curves(make_tables(runs), tmp_path / 'curves.svg')
    drawn = {call.args[2][-1]: (call.kwargs['label'], call.kwargs['color']) for call in plot.mock_calls}
    assert set(drawn) == {30, 40, 50} and len(plot.mock_calls) == 4  # but not the 15 of one epoch
    by_label = {call.kwargs['label']: call.kwargs['color'] for call in plot.mock_calls}
    assert len(by_label) == len(set(by_label.values())) == 3
    picture = (tmp_path / 'curves.svg').read_text()
    assert [picture.count(f'<!-- {name} -->') for name in by_label] == [1, 1, 1]  # in one legend
    with patch.object(Axes, 'plot', autospec=True, side_effect=Axes.plot) as plot:
        draw_learning_curves(make_tables(runs[-1:]), tmp_path / 'points.svg')
    assert len(plot.mock_calls) == 1


def test_pretraining_curves_are_means_of_runs_in_the_colour_of_their_start(tmp_path, write_pretraining_to, hgkd_facts):
    def records(name, *curves):
        paths = [write_pretraining_to(tmp_path / f'{name}{i}', hgkd_facts, **curve) for i, curve in enumerate(curves)]
        return [load_sealed(path, PretrainingRecord)[0] for path in paths]

    spark = records('spark', {'loss': [(1.0, 3.0)]})
    ours = records(
        'ours',
        {'loss': [(1.0, 2.0), (2.0, 1.0)], 'explained_variance_masked': [(2.0, 0.5)]},
        {'loss': [(1.0, 4.0), (2.0, 2.0), (3.0, 1.0)]},
    )
    starts = {'SparK': spark, 'H-GKD': ours}
    with patch.object(Axes, 'plot', autospec=True, side_effect=Axes.plot) as plot:
        draw_pretraining_curves(starts, tmp_path / 'curves.png')
    assert [(*call.args[1:], *call.kwargs.values()) for call in plot.mock_calls] == [
        ([1.0], [3.0], 'SparK', 'C0'),
        ([1.0, 2.0], [3.0, 1.5], 'H-GKD', 'C1'),
        ([2.0], [0.5], 'H-GKD', 'C1'),
    ]
    first, again = (draw_pretraining_curves(starts, tmp_path / name).read_bytes() for name in ('a.svg', 'b.svg'))
    assert first == again and b'masked positions' in first
