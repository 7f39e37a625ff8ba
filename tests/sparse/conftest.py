"""The backends there are on this machine."""

import importlib.util

import pytest

has_spconv = importlib.util.find_spec('spconv') is not None


@pytest.fixture(
    params=['packed', 'masked', pytest.param('spconv', marks=pytest.mark.skipif(not has_spconv, reason='no spconv'))]
)
def backend(request: pytest.FixtureRequest) -> str:
    """Each sparse backend."""
    return request.param
