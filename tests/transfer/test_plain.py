"""Checkpoints hold what `weights_only=True` reads in every version of torch, and mmengine's log buffers come back."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader

from hgkd_mm.transfer.plain import make_plain, to_plain


@pytest.fixture
def hub() -> MessageHub:
    hub = MessageHub('saved')
    for loss in (3.0, float('nan'), 1.0):
        hub.update_scalar('train/loss', loss)
    hub.update_scalar('train/steps', 7, count=2)
    hub.log_scalars['train/loss'].max_length = 3
    hub.update_info('best_score', np.float64(0.5))
    return hub


def saved(hub, path):
    checkpoint = {
        'meta': {'dataset_meta': {'palette': np.arange(6).reshape(2, 3), 'file': Path('a.json')}, 'iter': 3},
        'state_dict': torch.nn.BatchNorm1d(2).state_dict(),
        'message_hub': hub.state_dict(),
    }
    make_plain(checkpoint)
    torch.save(checkpoint, path)
    return path


def test_a_checkpoint_is_read_without_any_allowed_object(hub, tmp_path):
    found = torch.load(saved(hub, tmp_path / 'a.pth'), weights_only=True)
    assert found['meta'] == {'dataset_meta': {'palette': [[0, 1, 2], [3, 4, 5]], 'file': 'a.json'}, 'iter': 3}
    assert found['state_dict']._metadata[''] == {'version': 2}
    logs = found['message_hub']['log_scalars']
    assert logs['train/steps']['log_history'].tolist() == [7] and logs['train/steps']['count_history'].tolist() == [2]


def test_log_buffers_come_back_for_mmengine(hub, tmp_path):
    checkpoint = CheckpointLoader.load_checkpoint(str(saved(hub, tmp_path / 'a.pth')), 'cpu')
    resumed = MessageHub('resumed')
    resumed.load_state_dict(checkpoint['message_hub'])
    for name, buffer in hub.log_scalars.items():
        found = resumed.get_scalar(name)
        assert found.max_length == buffer.max_length
        for one, other in zip(found.data, buffer.data, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
    resumed.update_scalar('train/loss', 5.0)
    assert resumed.get_scalar('train/loss').data[0][1:].tolist() == [1.0, 5.0]  # the oldest has left
    assert resumed.get_scalar('train/loss').mean(2) == 3.0 and resumed.get_info('best_score') == 0.5


def test_stock_mmengine_resumes_from_it_with_new_log_buffers(hub, tmp_path):
    content = torch.load(saved(hub, tmp_path / 'a.pth'), weights_only=True)
    resumed = MessageHub('stock')
    resumed.load_state_dict(content['message_hub'])
    assert not resumed.log_scalars and resumed.get_info('best_score') == 0.5
    resumed.update_scalar('train/loss', 1.0)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_plain_values_stay_what_they_are(value):
    assert to_plain(value) == value


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (np.float32(0.25), 0.25),
        (np.bool_(True), True),
        ([np.int64(3), (np.uint8(1),)], [3, (1,)]),
        (OrderedDict(a=np.array(['x'])), OrderedDict(a=['x'])),
        (HistoryBuffer(), {'log_history': torch.zeros(0), 'count_history': torch.zeros(0), 'max_length': 1000000}),
    ],
)
def test_what_is_numpys_becomes_pythons(value, expected):
    found = to_plain(value)
    assert type(found) is type(expected)
    if isinstance(value, HistoryBuffer):
        assert found['log_history'].dtype == torch.float64
        found, expected = ({k: getattr(v, 'tolist', lambda v=v: v)() for k, v in d.items()} for d in (found, expected))
    assert found == expected
