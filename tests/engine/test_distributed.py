"""Two processes train as one does with twice the batch: masks, teacher, statistics and gradients."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmpretrain.models import VisionTransformer
from safetensors.torch import save_file

from hgkd_mm.transfer import load_checkpoint_file

ROOT = Path(__file__).parents[2]
#: One thread a process: two on two cores are enough.
ENVIRONMENT = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'PORT': '29713'}

CONFIG = """
_base_ = '{base}'
custom_imports = dict(imports=['hgkd_mm', 'mmpretrain.engine', 'mmpretrain.models', 'loss_curve'])
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
    dict(type='StudentExportHook', num_batches=1),
]
model = dict(neck=dict(channels=[16, 16]), head=dict(in_channels=16, embed_dims=16))
train_cfg = dict(max_epochs=2)
sync_bn = 'torch'
"""

LOSS_CURVE = """
import json
from torch import distributed
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class LossCurve(Hook):
    losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        loss = outputs['loss'].detach().clone()
        if distributed.is_initialized():
            distributed.all_reduce(loss)
            loss /= distributed.get_world_size()
        self.losses.append(loss.item())

    def after_train(self, runner):
        if is_main_process():
            open(runner.work_dir + '/losses.json', 'w').write(json.dumps(self.losses))
"""


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(tmp_path, mini_cutoutscenes):
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=16)
    torch.manual_seed(0)
    vit = VisionTransformer(arch=arch, img_size=64, patch_size=16)
    save_file({key: value.contiguous() for key, value in vit.state_dict().items()}, tmp_path / 'vit.safetensors')
    backbone = dict(type='mmpretrain.VisionTransformer', arch=arch, img_size=64, patch_size=16)
    (tmp_path / 'vit.json').write_text(json.dumps({'backbone': backbone}))
    base = next(ROOT.glob('configs/pretraining/hgkd_resnet18_1xb*_cutoutscenes.py'))
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(base=base, teacher=tmp_path / 'vit.safetensors'))
    (tmp_path / 'loss_curve.py').write_text(LOSS_CURVE)
    environment = {**ENVIRONMENT, 'PYTHONPATH': f'{ROOT}:{tmp_path}'}

    curves, exports = {}, {}
    for processes, batch in ((1, 8), (2, 4)):
        work_dir = tmp_path / str(processes)
        options = [f'data_root={mini_cutoutscenes}', 'width=8', f'batch_size={batch}']
        start = [sys.executable, 'tools/train.py', str(config)]
        if processes == 2:
            start = ['bash', 'tools/dist_train.sh', str(config), '2']
        command = [*start, '--work-dir', str(work_dir), '--cfg-options', *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr[-9000:]
        curves[processes] = json.loads((work_dir / 'losses.json').read_text())
        exports[processes] = load_checkpoint_file(work_dir / 'backbone.pth')['state_dict']
    one, two = (np.array(curves[processes]) for processes in (1, 2))
    assert len(one) == 4
    assert np.abs(np.diff(one)).min() > 1e-3  # it learns: equality says something about the gradients
    np.testing.assert_allclose(two, one, rtol=2e-4)
    # the export re-estimates BatchNorm in all processes: it neither waits for ever nor sees one of them alone
    for key, value in exports[1].items():
        torch.testing.assert_close(exports[2][key], value, rtol=1e-2, atol=1e-3, msg=lambda m, key=key: f'{key}: {m}')
