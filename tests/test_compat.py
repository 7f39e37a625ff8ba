"""Old versions of torch read what new ones write, and as safely."""

from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from hgkd_mm import compat
from hgkd_mm.errors import WeightsError
from hgkd_mm.transfer import load_checkpoint_file
from hgkd_mm.transfer.plain import make_plain


@pytest.fixture
def content():
    return {
        'state_dict': {'w': torch.arange(6.0).view(2, 3), 'half': torch.ones(2, dtype=torch.float16)},
        'message_hub': {'log_scalars': {'loss': HistoryBuffer([1.0, 3.0], [1, 1])}, 'lr': np.float64(0.5)},
    }


def test_torch_without_safe_globals_reads_our_checkpoints_and_refuses_objects(content, tmp_path, monkeypatch):
    monkeypatch.setattr(compat, 'HAS_SAFE_GLOBALS', False)
    torch.save(content, tmp_path / 'stock.pth')
    with pytest.raises(WeightsError, match=r'stock.pth holds Python objects besides weights'):
        load_checkpoint_file(tmp_path / 'stock.pth')
    make_plain(content)
    torch.save(content, tmp_path / 'ours.pth')
    loaded = load_checkpoint_file(tmp_path / 'ours.pth')
    assert torch.equal(loaded['state_dict']['w'], torch.arange(6.0).view(2, 3))
    assert loaded['state_dict']['half'].dtype == torch.float16
    assert loaded['message_hub']['lr'] == 0.5


@pytest.mark.skipif(not compat.HAS_SAFE_GLOBALS, reason='nothing can be allowed')
def test_what_is_allowed_is_allowed_for_the_body_only(content, tmp_path):
    torch.save(content, tmp_path / 'stock.pth')
    assert load_checkpoint_file(tmp_path / 'stock.pth')['message_hub']['log_scalars']['loss'].mean() == 2.0
    with pytest.raises(UnpicklingError):
        torch.load(tmp_path / 'stock.pth', weights_only=True)
