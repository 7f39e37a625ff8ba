"""Peak memory in processes of their own."""

import pytest

from hgkd_mm.errors import HGKDError
from hgkd_mm.speed.encoder import Setting
from hgkd_mm.speed.memory import peak_memory


@pytest.mark.slow
def test_hidden_patches_save_memory():
    setting = Setting('ResNet-18', batch_size=8, img_size=224, visible=10, threads=1)
    masked, packed = (peak_memory(setting, variant, repeats=1) for variant in ('masked', 'packed'))
    assert packed < 0.7 * masked


@pytest.mark.slow
def test_a_failure_is_told():
    with pytest.raises(HGKDError, match='memory of masked failed'):
        peak_memory(Setting('no such model'), 'masked', repeats=1)
