"""Checkpoint files never run code, and every broken one is named."""

import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.fileio import get_file_backend
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint

from hgkd_mm.compat import HAS_SAFE_GLOBALS
from hgkd_mm.errors import WeightsError
from hgkd_mm.transfer import load_checkpoint_file, state_dict_of


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('load', [load_checkpoint_file, CheckpointLoader.load_checkpoint])
def test_code_in_a_checkpoint_is_not_run(tmp_path, load, zipped):
    marker, path = tmp_path / 'executed', tmp_path / 'bad.pth'
    content = {'state_dict': {}, 'meta': Malicious(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match='bad.pth'):
        load(str(path))
    assert not marker.exists()


def test_getattr_of_a_checkpoint_reaches_log_histories_only(tmp_path):
    class Escape:
        def __reduce__(self):
            return getattr, (np.ndarray, 'tofile')

    torch.save({'state_dict': {}, 'x': Escape()}, tmp_path / 'bad.pth')
    with pytest.raises(WeightsError):
        load_checkpoint_file(tmp_path / 'bad.pth')


@pytest.mark.skipif(not HAS_SAFE_GLOBALS, reason='torch before 2.5 reads plain values only')
def test_log_histories_and_numpy_values_load(tmp_path):
    history = HistoryBuffer([1.0, 3.0], [1, 1])
    content = {
        'state_dict': {'w': torch.ones(2)},
        'message_hub': {'loss': history, 'lr': np.float64(0.5), 'steps': np.arange(3)},
    }
    torch.save(content, tmp_path / 'ok.pth')
    loaded = load_checkpoint_file(tmp_path / 'ok.pth')
    assert loaded['message_hub']['loss'].mean() == 2.0
    assert loaded['message_hub']['lr'] == 0.5
    assert loaded['message_hub']['steps'].tolist() == [0, 1, 2]


def test_config_code_in_meta_is_dropped_before_mmengine_executes_it(tmp_path):
    path = tmp_path / 'c.pth'
    torch.save({'state_dict': {'weight': torch.ones(1, 1)}, 'meta': {'config': 'print(1)'}}, path)
    loaded = load_checkpoint(torch.nn.Linear(1, 1, bias=False), str(path))
    assert 'config' not in loaded['meta']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'does not exist'),
        (b'', 'is empty'),
        (b'not a checkpoint at all', 'truncated or not a checkpoint'),
        (pickle.dumps([1, 2]), 'truncated or not a checkpoint|holds a list'),
    ],
)
@pytest.mark.parametrize('name', ['broken.pth', 'broken.safetensors'])
def test_unreadable_files_are_named(tmp_path, content, message, name):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    if path.suffix == '.safetensors' and content:
        message = 'truncated or not a checkpoint'
    with pytest.raises(WeightsError, match=f'{name}.*({message})'):
        load_checkpoint_file(path)


@pytest.mark.parametrize('keep', [0.2, 0.9])
def test_truncated_checkpoint_is_named(tmp_path, keep):
    path = tmp_path / 'half.pth'
    torch.save({'state_dict': {'w': torch.ones(5000)}}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(WeightsError, match='half.pth is (truncated|damaged)'):
        load_checkpoint_file(path)


def test_file_without_weights_is_refused():
    with pytest.raises(WeightsError, match='a.pth is neither'):
        state_dict_of({'epoch': 3}, 'a.pth')


def test_failed_write_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    backend = get_file_backend(str(path))
    backend.put(b'old', str(path))
    with pytest.raises(TypeError):
        backend.put('text is not bytes', str(path))
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['epoch_1.pth']


@pytest.mark.parametrize('code', [True, False])
def test_code_in_a_downloaded_checkpoint_is_not_run(tmp_path, monkeypatch, code):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    content = {'state_dict': {'w': torch.ones(1)}, 'meta': Malicious(tmp_path / 'executed') if code else {}}
    monkeypatch.setattr(torch.hub, 'download_url_to_file', lambda url, path, *_, **__: torch.save(content, path))
    url = 'https://example.org/zoo/net.pth?x=1'
    if code:
        with pytest.raises(WeightsError, match='net.pth holds Python objects'):
            CheckpointLoader.load_checkpoint(url)
        assert not (tmp_path / 'executed').exists()
    else:
        assert CheckpointLoader.load_checkpoint(url)['state_dict']['w'] == 1
