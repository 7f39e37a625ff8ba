"""tools/cache_teacher.py: writes once, goes on after a kill, and training reads what it wrote."""

import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from hgkd_mm.engine.cache_teacher import cache_teacher
from hgkd_mm.engine.config import load_config
from hgkd_mm.errors import ConfigError, DataError
from hgkd_mm.models.teachers.group import TeacherGroup

CONFIG = 'configs/pretraining/hgkd_resnet18_1xb16-coslr-12e_cutoutscenes.py'
IMAGES = 5


@pytest.fixture
def config(tmp_path, tiny_teacher):
    """Write a config of two teachers on five images with two views each; the teachers' weights are in a file."""
    folder = tmp_path / 'scenes/unlabeled'
    folder.mkdir(parents=True)
    for number in range(IMAGES):
        pixels = np.random.default_rng(number).integers(0, 255, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'{number}.png')
    torch.manual_seed(0)
    state = TeacherGroup(tiny_teacher).teachers[0].vit.state_dict()
    tiny_teacher['backbone']['arch']['num_layers'] = 1  # the later ones are not in the file
    torch.save(state, tmp_path / 'teacher.pth')
    one = dict(tiny_teacher, weights=str(tmp_path / 'teacher.pth'))
    options = dict(data_root=str(tmp_path / 'scenes'), num_views=2, img_size=64, token_cache=str(tmp_path / 'tokens'))
    cfg = load_config(CONFIG, options)
    cfg.custom_hooks = [
        dict(type='TeacherHook', teacher=[one, dict(one, img_size=64)], cache_dir=options['token_cache'])
    ]
    path = tmp_path / 'config.py'
    cfg.dump(path)
    return path


def written(tmp_path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / 'tokens').glob('*.*')}


def test_every_view_is_written_once_and_a_second_run_has_nothing_to_do(config, tmp_path, capsys, monkeypatch):
    cache_teacher([str(config)])
    index = np.load(tmp_path / 'tokens/index.npy')
    assert len(index) == 2 * IMAGES and index.all()
    assert (tmp_path / 'tokens/tokens-00000.bin').stat().st_size == 2 * IMAGES * 2 * 24 * (16 + 64)
    assert 'complete (10 of 10 views)' in capsys.readouterr().out
    before = written(tmp_path)
    images = count_images(monkeypatch)
    cache_teacher([str(config)])
    assert sum(images) == 1  # the one that is compared
    assert '10 of 10 are there' in capsys.readouterr().out
    assert written(tmp_path) == before


def count_images(monkeypatch, stop_after: int | None = None) -> list[int]:
    """Count the images teachers are asked for; raise as Ctrl-C does after so many."""
    seen: list[int] = []
    forward = TeacherGroup.forward

    def counting(self, inputs, visible=None):
        if stop_after is not None and sum(seen) >= stop_after:
            raise KeyboardInterrupt
        seen.append(len(inputs))
        return forward(self, inputs, visible)

    monkeypatch.setattr(TeacherGroup, 'forward', counting)
    return seen


def test_an_interrupted_run_goes_on_and_the_result_is_the_same(config, tmp_path, monkeypatch):
    cache_teacher([str(config)])
    whole = written(tmp_path)
    for path in (tmp_path / 'tokens').iterdir():
        path.unlink()
    with monkeypatch.context() as patch:
        count_images(patch, stop_after=4)
        with pytest.raises(KeyboardInterrupt):
            cache_teacher([str(config), '--batch-size', '2'])
    assert np.count_nonzero(np.load(tmp_path / 'tokens/index.npy')) == 4
    images = count_images(monkeypatch)
    cache_teacher([str(config), '--batch-size', '2'])
    assert sum(images) == 6 + 1
    assert written(tmp_path) == whole


def test_parts_together_are_the_whole(config, tmp_path, monkeypatch):
    images = count_images(monkeypatch)
    for part in ('1/3', '3/3', '2/3'):
        cache_teacher([str(config), '--part', part])
    assert np.load(tmp_path / 'tokens/index.npy').all()
    assert sum(images) == 10 + 2
    with pytest.raises(ConfigError, match='--part 4/3: expected K/N'):
        cache_teacher([str(config), '--part', '4/3'])


def test_damaged_rows_are_written_anew(config, tmp_path, capsys):
    cache_teacher([str(config)])
    whole = written(tmp_path)
    path = tmp_path / 'tokens/tokens-00000.bin'
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    cache_teacher([str(config), '--verify'])
    assert 'tokens-00000.bin damaged' in capsys.readouterr().out
    assert written(tmp_path) == whole


def test_other_pixels_or_another_teacher_make_a_cache_stale(config, tmp_path):
    cache_teacher([str(config)])
    weights = tmp_path / 'teacher.pth'
    original = weights.read_bytes()
    state = torch.load(weights, weights_only=True)
    torch.save({key: value + 0.01 for key, value in state.items()}, weights)
    with pytest.raises(DataError, match='caches the tokens of something else. It differs in source.teachers'):
        cache_teacher([str(config)])
    weights.write_bytes(original)
    for path in (tmp_path / 'scenes/unlabeled').iterdir():
        Image.new('RGB', (48, 48), 'white').save(path)
    with pytest.raises(DataError, match='is stale: recomputed tokens'):
        cache_teacher([str(config)])


def test_a_config_without_a_folder_or_with_masked_targets_is_refused(config, tmp_path):
    def edited(**changes):
        cfg = load_config(config)
        cfg.custom_hooks[0].update(changes)
        cfg.dump(tmp_path / 'edited.py')
        return str(tmp_path / 'edited.py')

    with pytest.raises(ConfigError, match='TeacherHook has no cache_dir.*token_cache=DIR'):
        cache_teacher([edited(cache_dir=None)])
    teacher = dict(load_config(config).custom_hooks[0].teacher[0], target='visible')
    with pytest.raises(ConfigError, match="target 'visible' depends on the mask"):
        cache_teacher([edited(teacher=teacher)])


@pytest.mark.slow
def test_a_killed_process_loses_nothing_it_wrote(config, tmp_path):
    folder = tmp_path / 'scenes/unlabeled'
    for number in range(IMAGES, 400):
        shutil.copy(folder / f'{number % IMAGES}.png', folder / f'{number}.png')
    process = subprocess.Popen([sys.executable, 'tools/cache_teacher.py', str(config), '--batch-size', '1'])
    index, deadline = tmp_path / 'tokens/index.npy', time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if index.is_file() and np.count_nonzero(np.load(index)) >= 20:
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    written = np.load(index)
    assert 20 <= np.count_nonzero(written) < 800
    cache_teacher([str(config), '--verify'])
    after = np.load(index)
    assert after.all()
    assert np.array_equal(after[written != 0], written[written != 0])  # kept, not computed again
