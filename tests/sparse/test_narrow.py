"""A few channels sampled by a stride. oneDNN's kernels for that write past their workspace: a run ends by a signal.

https://github.com/uxlfoundation/oneDNN/issues/6035. On tiles, channels last in memory, we must not call them.
"""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import torch
from torch import nn
from hgkd_mm.sparse import PatchMask
from hgkd_mm.sparse.context import SparseContext
from hgkd_mm.sparse.geometry import layer_axes
from hgkd_mm.sparse.packed import PACKED_LAYERS

dense = nn.Conv2d(4, 8, 1, stride=2)
packed = nn.Conv2d(4, 8, 1, stride=2)
packed.load_state_dict(dense.state_dict())
packed.axes = layer_axes(packed, 'layer')
packed.__class__ = PACKED_LAYERS[nn.Conv2d]
packed.sparse_context = SparseContext()
for side in (8, 64):
    mask = PatchMask(torch.ones(8, 1, 1, dtype=torch.bool), side)
    for _ in range(100):
        maps = torch.randn(8, 4, side, side)
        dense.zero_grad()
        packed.zero_grad()
        expected = dense(maps)
        expected.square().sum().backward()
        with packed.sparse_context.use(mask):
            found = packed(mask.pack(maps))
        found.square().sum().backward()
        assert torch.allclose(mask.unpack(found), expected, atol=1e-5)
        assert torch.allclose(packed.weight.grad, dense.weight.grad, rtol=1e-4, atol=1e-2)
"""


@pytest.mark.slow
@pytest.mark.parametrize('instructions', ['AVX2', 'DEFAULT'])
def test_a_narrow_convolution_with_a_stride_leaves_the_heap_whole(instructions):
    environment = {**os.environ, 'ONEDNN_MAX_CPU_ISA': instructions, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
