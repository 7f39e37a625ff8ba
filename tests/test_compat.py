"""Old versions of torch read what new ones read, and as safely."""

import os
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from hgkd_mm import compat
from hgkd_mm.transfer import load_checkpoint_file


@pytest.fixture(autouse=True)
def old_torch(monkeypatch):
    monkeypatch.setattr(compat, 'HAS_SAFE_GLOBALS', False)


def test_checkpoint_of_a_run_is_read_without_torchs_safe_globals(tmp_path):
    content = {
        'state_dict': {'w': torch.arange(6.0).view(2, 3), 'half': torch.ones(2, dtype=torch.float16)},
        'message_hub': {'loss': HistoryBuffer([1.0, 3.0], [1, 1]), 'lr': np.float64(0.5)},
        'optimizer': {'state': {0: {'step': torch.tensor(3.0)}}},
    }
    torch.save(content, tmp_path / 'run.pth')
    loaded = load_checkpoint_file(tmp_path / 'run.pth')
    assert torch.equal(loaded['state_dict']['w'], content['state_dict']['w'])
    assert loaded['state_dict']['half'].dtype == torch.float16
    assert loaded['message_hub']['loss'].mean() == 2.0 and loaded['message_hub']['lr'] == 0.5


@pytest.mark.parametrize('target', [os.mkdir, eval, exec, getattr, print])
def test_nothing_else_is_found_by_the_restricted_unpickler(tmp_path, target):
    class Code:
        def __reduce__(self):
            return target, (str(tmp_path / 'executed'),)

    torch.save({'w': torch.ones(1), 'x': Code()}, tmp_path / 'bad.pth')
    with pytest.raises(UnpicklingError), compat.safe_globals([np.ndarray]):
        compat.torch_load(tmp_path / 'bad.pth')
    assert not (tmp_path / 'executed').exists()


def test_what_is_allowed_is_allowed_for_the_body_only(tmp_path):
    torch.save({'x': HistoryBuffer([1.0], [1])}, tmp_path / 'x.pth')
    load_checkpoint_file(tmp_path / 'x.pth')
    with pytest.raises(UnpicklingError):
        compat.torch_load(tmp_path / 'x.pth')
