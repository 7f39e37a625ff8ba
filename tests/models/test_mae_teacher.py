"""A teacher pretrained from nothing by the MAE config is one ViTTeacher can load."""

from pathlib import Path

import torch

from hgkd_mm.engine import train
from hgkd_mm.engine.config import load_config
from hgkd_mm.models.teachers import ViTTeacher
from hgkd_mm.transfer import load_checkpoint_file

CONFIG = Path(__file__).parents[2] / ('configs/pretraining/mae_vit-micro-p16_1xb64-coslr-100e_cutoutscenes.py')


def test_mae_config_trains_a_teacher_that_loads(mini_cutoutscenes, tmp_path):
    options = [f'data_root={mini_cutoutscenes}', 'batch_size=8', 'max_epochs=1']
    train([str(CONFIG), '--work-dir', str(tmp_path), '--cfg-options', *options])

    checkpoint = tmp_path / 'epoch_1.pth'
    content = load_checkpoint_file(checkpoint)
    assert content['meta']['iter'] == 2  # 16 scenes, 8 an iteration

    cfg = load_config(CONFIG)
    teacher = ViTTeacher(
        backbone=dict(
            type='mmpretrain.VisionTransformer',
            arch=cfg.arch,
            img_size=cfg.img_size,
            patch_size=cfg.patch_size,
        ),
        weights=str(checkpoint),
        prefix='backbone.',
        layer=6,
        img_size=128,
    )
    weights = content['state_dict']['backbone.layers.5.attn.qkv.weight']
    assert torch.equal(teacher.vit.layers[5].attn.qkv.weight, weights)
    assert torch.equal(teacher.vit.pos_embed, content['state_dict']['backbone.pos_embed'])
    tokens = teacher(torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8))
    assert tokens.shape == (2, 192, 8, 8)
    assert tokens.isfinite().all()
    assert tokens.std(dim=(2, 3)).min() > 0  # places differ
