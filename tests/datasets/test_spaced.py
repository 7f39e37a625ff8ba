import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgkd_mm.datasets.spaced import evenly_spaced


@pytest.mark.parametrize(
    ('length', 'count', 'places'),
    [(10, 4, [0, 3, 6, 9]), (5, 2, [0, 4]), (7, 1, [0]), (3, 3, [0, 1, 2]), (2, 3, [0, 0, 1])],
)
def test_places_by_hand(length, count, places):
    assert evenly_spaced(length, count) == places


@given(st.data(), st.integers(2, 1000))
def test_first_and_last_are_there_and_none_is_there_twice(data, length):
    count = data.draw(st.integers(2, length))
    places = evenly_spaced(length, count)
    assert places == sorted(set(places)) and len(places) == count
    assert (places[0], places[-1]) == (0, length - 1)
