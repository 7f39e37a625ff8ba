"""A few channels sampled by a stride. oneDNN's kernels for that write past their workspace: a run ends by a signal.

https://github.com/uxlfoundation/oneDNN/issues/6035. On tiles, channels last in memory, we must not call them.
"""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import copy
import torch
from torch import nn
from hgkd_mm.sparse import PatchMask, make_sparse


class Narrow(nn.Sequential):
    def forward(self, x):
        return (super().forward(x),)


for side in (8, 64):
    dense = Narrow(nn.Conv2d(3, 8, 1, stride=2))
    narrow = copy.deepcopy(dense)
    sparse = make_sparse(narrow, patch_size=side)
    mask = PatchMask(torch.ones(8, 1, 1, dtype=torch.bool), side)
    for _ in range(100):
        images = torch.randn(8, 3, side, side)
        (expected,), (found,) = dense(images), sparse(images, mask)
        assert torch.allclose(found, expected, atol=1e-5)
        weights = [torch.autograd.grad(map.square().sum(), net[0].weight)[0]
                   for map, net in ((found, narrow), (expected, dense))]
        assert torch.allclose(*weights, rtol=1e-4, atol=1e-2)
"""


@pytest.mark.slow
@pytest.mark.parametrize('instructions', ['AVX2', 'DEFAULT'])
def test_a_narrow_convolution_with_a_stride_leaves_the_heap_whole(instructions):
    environment = {**os.environ, 'ONEDNN_MAX_CPU_ISA': instructions, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
