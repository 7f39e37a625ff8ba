"""BatchNorm over two processes is BatchNorm over both batches: outputs, gradients and running statistics."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hgkd_mm.engine.sync_batchnorm import CollectiveBatchNorm, synchronise_batchnorm
from hgkd_mm.sparse.masked.norm import MaskedBatchNorm2d

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, sys, torch
from torch import distributed, nn
from hgkd_mm.engine.sync_batchnorm import synchronise_batchnorm
from hgkd_mm.sparse.context import SparseContext
from hgkd_mm.sparse.mask import PatchMask
from hgkd_mm.sparse.masked.norm import MaskedBatchNorm2d

distributed.init_process_group('gloo')
rank = distributed.get_rank()
visible = torch.tensor([[[1, 0], [1, 1]]] * 3 + [[[0, 1], [0, 0]]] * 3, dtype=torch.bool)

def run(kind, whole, dtype=torch.float32, momentum=0.3):
    torch.manual_seed(0)
    images = 5 + 3 * torch.randn(6, 4, 8, 8)
    weights = torch.randn(6, 4, 8, 8)
    # uneven shares
    part = slice(None) if whole else (slice(0, 4) if rank == 0 else slice(4, 6))
    layer = kind(4, momentum=momentum).train()
    with torch.no_grad():
        layer.weight.copy_(torch.rand(4) + 0.5), layer.bias.copy_(torch.randn(4))
    model = nn.Sequential(layer)
    if not whole:
        assert synchronise_batchnorm(model) == 1
    x = images[part].to(dtype).requires_grad_()
    context = layer.sparse_context = SparseContext()
    with context.use(PatchMask(visible[part], 4)):
        for _ in range(2):
            out = model(x)
    assert out.dtype == dtype
    # sum of both processes' losses, as DDP's mean is up to a factor
    (out * weights[part]).sum().backward()
    found = [out.detach().float(), x.grad.float(), layer.weight.grad, layer.bias.grad]
    return found + [layer.running_mean, layer.running_var], part

errors = {}
for name, kind, options in (
    ('BatchNorm2d', nn.BatchNorm2d, {}),
    ('SyncBatchNorm', nn.SyncBatchNorm, {}),
    ('average', nn.BatchNorm2d, {'momentum': None}),
    ('bfloat16', nn.BatchNorm2d, {'dtype': torch.bfloat16}),
    ('MaskedBatchNorm2d', MaskedBatchNorm2d, {}),
):
    ours, part = run(kind, False, **options)
    plain = nn.BatchNorm2d if kind is nn.SyncBatchNorm else kind
    theirs, _ = run(plain, True, **options)
    theirs[:2] = [value[part] for value in theirs[:2]]
    for value in ours[2:4]:
        distributed.all_reduce(value)
    errors[name] = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, theirs))
gathered = [None, None]
distributed.all_gather_object(gathered, errors)
if rank == 0:
    print(json.dumps({name: max(found[name] for found in gathered) for name in errors}))
"""


@pytest.mark.slow
def test_two_processes_normalise_as_one_with_both_batches(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT)
    launch = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2', str(script)]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(launch, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    errors = json.loads(done.stdout.strip().splitlines()[-1])
    assert errors.pop('bfloat16') < 2e-2
    assert set(errors) == {'BatchNorm2d', 'SyncBatchNorm', 'average', 'MaskedBatchNorm2d'}
    assert max(errors.values()) < 2e-5


def test_layers_keep_what_they_are_and_one_process_changes_nothing():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.SyncBatchNorm(4), MaskedBatchNorm2d(4))
    keys = list(model.state_dict())
    assert synchronise_batchnorm(model, plain=False) == 1
    assert type(model[1]) is nn.BatchNorm2d
    assert synchronise_batchnorm(model) == 3
    assert synchronise_batchnorm(model) == 3  # again: no further change
    assert all(isinstance(layer, CollectiveBatchNorm) for layer in model[1:])
    assert isinstance(model[3], MaskedBatchNorm2d) and list(model.state_dict()) == keys
    images, other = torch.randn(2, 3, 5, 5), nn.BatchNorm2d(4)
    layer = model[1].train()
    torch.testing.assert_close(layer(model[0](images)), other.train()(model[0](images)))
    torch.testing.assert_close(layer.running_var, other.running_var)


@pytest.mark.parametrize('kind', [nn.BatchNorm1d, nn.BatchNorm2d, MaskedBatchNorm2d])
def test_on_gpus_torchs_own_computation_comes_right_before_the_base(kind, monkeypatch):
    monkeypatch.setattr(nn.Parameter, 'is_cuda', True, raising=False)
    layer = kind(4)
    synchronise_batchnorm(nn.Sequential(layer))
    order = type(layer).__mro__
    assert issubclass(type(layer), kind) and issubclass(type(layer), nn.SyncBatchNorm) and layer.process_group is None
    assert order.index(nn.SyncBatchNorm) > order.index(kind)
    assert not isinstance(layer, CollectiveBatchNorm)
