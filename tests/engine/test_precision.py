"""Mixed precision: what it does, where it is refused, and when it is chosen."""

import pytest
import torch
from mmengine.config import ConfigDict

from hgkd_mm import engine
from hgkd_mm.engine import precision
from hgkd_mm.engine.precision import amp_helps, bfloat16_speedup, enable_amp
from hgkd_mm.errors import ConfigError


def test_amp_runs_the_forward_pass_in_bfloat16_and_keeps_float32_weights(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = ConfigDict(default_scope='mmpretrain', optim_wrapper=dict(optimizer=dict(type='SGD', lr=1)))
    enable_amp(cfg)
    layer = torch.nn.Linear(2, 2)
    wrapper = engine.AutocastOptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), 0.1))
    assert cfg.optim_wrapper.type == 'hgkd_mm.AutocastOptimWrapper'
    with wrapper.optim_context(layer):
        output = layer(torch.ones(1, 2))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().sum())
    assert layer.weight.dtype == torch.float32


def test_amp_is_refused_where_it_cannot_work(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ConfigError, match='NMS knows no bfloat16'):
        enable_amp(ConfigDict(default_scope='mmdet', optim_wrapper=dict(optimizer=dict())))
    with pytest.raises(ConfigError, match='no optim_wrapper'):
        enable_amp(ConfigDict())


@pytest.mark.parametrize(
    ('scope', 'supported', 'speedup', 'expected'),
    [
        ('mmpretrain', True, 2.0, True),
        ('mmpretrain', True, 1.05, False),
        ('mmpretrain', False, 2.0, False),
        ('mmdet', True, 2.0, False),
    ],
)
def test_auto_takes_bfloat16_only_where_it_works_and_is_faster(monkeypatch, scope, supported, speedup, expected):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: supported)
    monkeypatch.setattr(precision, 'bfloat16_speedup', lambda: speedup)
    assert amp_helps(ConfigDict(default_scope=scope)) is expected


def test_the_measurement_runs_and_leaves_random_numbers_to_the_training():
    state = torch.get_rng_state()
    assert bfloat16_speedup(rounds=1) > 0
    assert torch.equal(torch.get_rng_state(), state)
