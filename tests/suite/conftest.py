"""Toy plans of tiny commands; what the tiny suite needs to run offline: pictures and a teacher of random weights."""

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmpretrain.models import VisionTransformer
from PIL import Image
from safetensors.torch import save_file

from hgkd_mm.errors import ConfigError
from hgkd_mm.suite.engine import find_snakemake
from hgkd_mm.suite.plan import Job, Plan

ROOT = Path(__file__).parents[2]
CLASSES = (
    'bird', 'coin', 'fish', 'flower', 'fruit', 'household', 'mammal', 'small_creature', 'tool', 'vegetable', 'vehicle',
)  # fmt: skip


@pytest.fixture(scope='session')
def engine():
    """Skip without Snakemake."""
    try:
        return find_snakemake()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(scope='module', autouse=True)
def signals_are_not_ignored():
    """Undo what a shell does for commands in the background, nohup and failed trainings, for us and what we start."""
    handlers = {signal.SIGINT: signal.default_int_handler}
    handlers |= dict.fromkeys((signal.SIGHUP, signal.SIGTERM), signal.SIG_DFL)
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.fixture
def toy(tmp_path, engine):
    """Make plans: name -> (names it needs, Python code); ``product`` is a variable of the code."""

    def make(**jobs):
        made = []
        for name, (needs, code) in jobs.items():
            kind = 'leaderboard' if name == 'board' else 'finetune'
            full = {other: f'{"leaderboard" if other == "board" else "finetune"}/{other}-0' for other in jobs}
            product = tmp_path / 'work' / full[name] / ('index.html' if name == 'board' else 'result.json')
            lines = [
                'from pathlib import Path',
                f'product = Path({str(product)!r})',
                'product.parent.mkdir(parents=True, exist_ok=True)',
            ]
            made.append(
                Job(
                    name=full[name],
                    kind=kind,
                    group=kind,
                    needs=tuple(full[need] for need in needs),
                    command=(sys.executable, '-c', '\n'.join([*lines, code])),
                    product=str(product),
                    work=1.0,
                )
            )
        return Plan('toy', str(tmp_path), 'work', tuple(made))

    return make


@pytest.fixture(scope='session')
def pictures(tmp_path_factory):
    """Give a folder for ``--source``: five discs a class, each class its colour, and five photographs of gradients."""
    root = tmp_path_factory.mktemp('pictures')
    y, x = np.mgrid[:48, :48]
    (root / 'backgrounds').mkdir()
    for number in range(5):
        for index, name in enumerate(CLASSES):
            pixels = np.full((48, 48, 4), (20 * index, 255 - 20 * index, 40 * number, 255), np.uint8)
            pixels[..., 3] *= ((x - 24) ** 2 + (y - 24) ** 2 < (23 - index) ** 2).astype(np.uint8)
            (root / 'cutouts' / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / 'cutouts' / name / f'{name}{number}.png')
        rows, columns = np.mgrid[:120, :160]
        photo = np.stack([rows + 9 * number, columns, rows + columns], -1).astype(np.uint8)
        Image.fromarray(photo).save(root / 'backgrounds' / f'photo{number}.png')
    return root


@pytest.fixture(scope='session')
def teacher(tmp_path_factory):
    """Give a random Vision Transformer with tokens as wide as those of the teacher in the configs."""
    arch = dict(embed_dims=384, num_layers=9, num_heads=6, feedforward_channels=64)
    path = tmp_path_factory.mktemp('teacher') / 'vit.safetensors'
    torch.manual_seed(0)
    model = VisionTransformer(arch=arch, img_size=112, patch_size=14)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    backbone = dict(type='mmpretrain.VisionTransformer', arch=arch, img_size=112, patch_size=14)
    path.with_suffix('.json').write_text(json.dumps({'backbone': backbone}))
    return path


@pytest.fixture(scope='session')
def write_suite(pictures, teacher):
    """Write the shipped tiny suite with own pictures and teacher; a function may change it."""

    def write(path, change=None):
        content = yaml.safe_load((ROOT / 'configs/suites/tiny.yaml').read_text())
        content['data']['source'] = str(pictures)
        content['teachers'] = {'random': {'weights': str(teacher)}}
        content['pretraining']['hgkd']['teachers'] = ['random']
        if change:
            change(content)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write
