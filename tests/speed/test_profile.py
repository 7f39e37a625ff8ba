"""The operators of a profile add up to the whole."""

import pytest

from hgkd_mm.speed.encoder import Setting
from hgkd_mm.speed.profile import measure_profile


def test_shares_add_up_and_go_down():
    rows = measure_profile(Setting('ResNet-18', batch_size=2, img_size=64, visible=2, threads=1), rounds=1, top=5)
    shares = [row['share'] for row in rows]
    assert sum(shares) == pytest.approx(100)
    assert shares[:5] == sorted(shares[:5], reverse=True)
    assert [row['operator'] for row in rows][-1] == 'the rest' and len(rows) == 6
