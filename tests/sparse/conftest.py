"""The backends there are on this machine."""

import pytest

from hgkd_mm.sparse.spconv.library import has_spconv


@pytest.fixture(
    params=['packed', 'masked', pytest.param('spconv', marks=pytest.mark.skipif(not has_spconv(), reason='no spconv'))]
)
def backend(request: pytest.FixtureRequest) -> str:
    """Each sparse backend."""
    return request.param
