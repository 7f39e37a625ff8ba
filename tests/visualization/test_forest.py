"""What is drawn are the numbers; what is written is whole and always the same."""

from unittest.mock import patch

import pytest
from matplotlib.axes import Axes
from PIL import Image

from hgkd_mm.visualization.forest import COLOURS, Difference, draw_forest

PANELS = {
    'ours minus …': [
        Difference('top-1: other', [9, 10, 14], (4.4, 17.6), (8, 15), 'must'),
        Difference('mIoU: other', [-1, 1], (-12.7, 12.7), (), ''),
    ],
    'control minus …': [Difference('top-1: other', [0.5, 0.7], (-0.7, 1.9), (), 'yes')],
}


def test_each_line_has_its_mean_its_interval_and_what_was_asked(tmp_path):
    with patch.object(Axes, 'plot', autospec=True) as plot, patch.object(Axes, 'hlines', autospec=True) as hlines:
        draw_forest(PANELS, tmp_path / 'forest.svg')
    bars = [(*call.args[1:], call.kwargs['color']) for call in hlines.mock_calls]
    assert bars == [(0, 4.4, 17.6, 'C0'), (1, -12.7, 12.7, '0.45'), (0, -0.7, 1.9, 'C9')]
    drawn = [call.args[1:] for call in plot.mock_calls]
    assert [args[:2] for args in drawn if args[2] == 'o'] == [(11, 0), (0, 1), (pytest.approx(0.6), 0)]
    assert ([9, 10, 14], [0, 0, 0], '.') in drawn and ((8, 15), [0, 0], '|') in drawn


def test_what_there_is_has_a_legend_and_equal_lines_are_equal_bytes(tmp_path):
    first, again = (draw_forest(PANELS, tmp_path / name).read_bytes() for name in ('a.svg', 'b.svg'))
    assert first == again
    shown = {reached: name.encode() in first for reached, (_, name) in COLOURS.items()}
    assert shown == {'aim': False, 'must': True, 'yes': True, 'no': False, '': True}
    assert all(word in first for word in (b'ours minus', b'control minus', b'mIoU: other'))


def test_more_lines_are_a_taller_picture(tmp_path):
    long = {'ours': PANELS['ours minus …'] * 20}
    with (
        Image.open(draw_forest(PANELS, tmp_path / 'short.png')) as small,
        Image.open(draw_forest(long, tmp_path / 'long.png')) as big,
    ):
        assert small.width == big.width and small.height < big.height
