"""Two processes train as one does with twice the batch: masks, teacher, statistics and gradients."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmpretrain.models import VisionTransformer
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2]

CONFIG = """
_base_ = '{base}'
default_hooks = dict(checkpoint=None)
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
param_scheduler = []
# the mask is drawn with the view, so that it depends on the image and not on the process
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='FixedViews',
        transforms=[
            dict(type='mmpretrain.RandomResizedCrop', scale=64, crop_ratio_range=(0.4, 1.0)),
            dict(type='RandomPatchMask', patch_size=32, mask_ratio=0.5),
        ],
    ),
    dict(type='mmpretrain.PackInputs', algorithm_keys=['visible'], meta_keys=['sample_idx', 'img_path', 'view_id']),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
custom_hooks = [
    dict(type='TeacherHook', teacher=dict(type='ViTTeacher', weights='{teacher}', layer=2, img_size=64)),
    dict(type='mmengine.LossCurve'),
]
model = dict(neck=dict(channels=[16, 16]), head=dict(in_channels=16, embed_dims=16))
train_cfg = dict(max_epochs=2)
"""

# torch's SyncBatchNorm wants GPUs; this is the same with differentiable collectives that CPUs have.
SCRIPT = """
import json, os, sys, torch
from torch import distributed as dist
from torch.distributed.nn.functional import all_reduce
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from hgkd_mm import engine

plain = torch.nn.functional.batch_norm

def synchronised(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if not training or not (dist.is_initialized() and dist.get_world_size() > 1):
        return plain(x, mean, var, weight, bias, training, momentum, eps)
    axes = [axis for axis in range(x.ndim) if axis != 1]
    shape = [1, -1] + [1] * (x.ndim - 2)
    count = torch.tensor(float(x.numel() // x.shape[1]))
    count, total, squares = (all_reduce(value) for value in (count, x.sum(axes), x.square().sum(axes)))
    batch_mean = total / count
    batch_var = squares / count - batch_mean**2
    with torch.no_grad():
        if mean is not None:
            mean.lerp_(batch_mean, momentum)
            var.lerp_(batch_var * count / (count - 1), momentum)
    out = (x - batch_mean.view(shape)) * torch.rsqrt(batch_var.view(shape) + eps)
    return out if weight is None else out * weight.view(shape) + bias.view(shape)

torch.nn.functional.batch_norm = synchronised
losses = []

@HOOKS.register_module()
class LossCurve(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        loss = outputs['loss'].detach().clone()
        if dist.is_initialized():
            dist.all_reduce(loss)
            loss /= dist.get_world_size()
        losses.append(loss.item())

config, out, *options = sys.argv[1:]
engine.train([config, '--work-dir', os.path.dirname(out), *options])
if int(os.environ.get('RANK', 0)) == 0:
    open(out, 'w').write(json.dumps(losses))
"""


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(tmp_path, mini_cutoutscenes):
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=16)
    torch.manual_seed(0)
    vit = VisionTransformer(arch=arch, img_size=64, patch_size=16)
    save_file({key: value.contiguous() for key, value in vit.state_dict().items()}, tmp_path / 'vit.safetensors')
    backbone = dict(type='mmpretrain.VisionTransformer', arch=arch, img_size=64, patch_size=16)
    (tmp_path / 'vit.json').write_text(json.dumps({'backbone': backbone}))
    config, script = tmp_path / 'config.py', tmp_path / 'script.py'
    base = next(ROOT.glob('configs/pretraining/hgkd_resnet18_1xb*_cutoutscenes.py'))
    config.write_text(CONFIG.format(base=base, teacher=tmp_path / 'vit.safetensors'))
    script.write_text(SCRIPT)

    curves = {}
    for processes, batch in ((1, 8), (2, 4)):
        out = tmp_path / str(processes) / 'losses.json'
        out.parent.mkdir()
        start = [sys.executable]
        launcher = []
        if processes == 2:
            start += ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']
            launcher = ['--launcher', 'pytorch']
        options = [f'data_root={mini_cutoutscenes}', 'width=8', f'batch_size={batch}']
        command = [*start, str(script), str(config), str(out), *launcher, '--cfg-options', *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-9000:]
        curves[processes] = json.loads(out.read_text())
    one, two = (np.array(curves[processes]) for processes in (1, 2))
    assert len(one) == 4
    assert np.abs(np.diff(one)).min() > 1e-3  # it learns: equality says something about the gradients
    np.testing.assert_allclose(two, one, rtol=2e-4)
