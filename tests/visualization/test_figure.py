"""Figures are files that do not depend on who draws them."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from hgkd_mm.visualization.figure import save


@pytest.mark.parametrize('name', ['a.svg', 'a.png'])
def test_last_digits_of_the_layout_are_not_in_an_svg(name, tmp_path):
    figure = Figure(layout='constrained')
    for axis, title in zip(figure.subplots(1, 3), 'abc', strict=True):
        axis.set(title=title, ylabel='x' * 7)
    save(figure, tmp_path / name)
    places = np.array([axis.get_position().bounds for axis in figure.axes])
    assert np.allclose(places, np.round(places, 5), rtol=0, atol=1e-12) == name.endswith('svg')
    assert (np.diff(places[:, 0]) > places[:-1, 2]).all()  # laid out all the same: the next begins behind this one
