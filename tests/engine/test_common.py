"""Configs written for GPUs run on machines without."""

import argparse

import pytest
import torch
from mmengine.config import Config

from hgkd_mm.engine.common import prepare


@pytest.fixture
def gpu_config():
    wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', optimizer=dict(type='SGD', lr=1))
    return Config(dict(optim_wrapper=wrapper, sync_bn='torch', env_cfg=dict(dist_cfg=dict(backend='nccl'))))


def arguments(launcher: str) -> argparse.Namespace:
    return argparse.Namespace(config='a/b.py', work_dir=None, launcher=launcher, local_rank=0)


def test_mixed_precision_of_gpus_is_left_out_on_cpus_only(gpu_config, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    prepare(gpu_config, arguments('none'))
    assert gpu_config.optim_wrapper.type == 'AmpOptimWrapper' and gpu_config.work_dir == 'work_dirs/b'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    prepare(gpu_config, arguments('none'))
    assert gpu_config.optim_wrapper == dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1))
    assert gpu_config.sync_bn == 'torch'  # one process: without an effect


def test_several_processes_on_cpus_get_gloo_and_a_wrapper_that_synchronises(gpu_config, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    started = []
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda backend: started.append(backend))
    prepare(gpu_config, arguments('pytorch'))
    assert started == ['gloo']
    assert gpu_config.sync_bn is None
    assert gpu_config.model_wrapper_cfg.type == 'hgkd_mm.DistributedModel' and gpu_config.model_wrapper_cfg.sync_bn
