"""Pretraining goes on over a few unreadable images and says which; downstream training and evaluation do not."""

import numpy as np
import pytest

from hgkd_mm.engine import train
from hgkd_mm.errors import ConfigError, DataError
from hgkd_mm.hooks import SkipUnreadableHook
from hgkd_mm.torture.subject import make_images, write_config
from hgkd_mm.transfer import load_checkpoint_file


@pytest.fixture
def images(tmp_path):
    root = make_images(tmp_path / 'images')
    (root / 'train' / 'a' / '000.png').write_bytes(b'')
    return root


def run(tmp_path, images, name, work_dir, share=None, *options):
    config = write_config(tmp_path, images, name)
    if share is not None:
        text = f"\ndefault_hooks['unreadable'] = dict(type='SkipUnreadableHook', max_share={share})\n"
        config.write_text(config.read_text() + text)
    train([str(config), '--work-dir', str(tmp_path / work_dir), '--cfg-options', 'max_epochs=2', *options])
    return load_checkpoint_file(tmp_path / work_dir / 'epoch_2.pth')['state_dict']


def test_a_few_are_skipped_and_reported_alike_with_any_number_of_workers(tmp_path, images):
    alone = run(tmp_path, images, 'pretraining', 'alone', 0.05)
    workers = run(tmp_path, images, 'pretraining', 'workers', 0.05, 'num_workers=2')
    for work_dir in ('alone', 'workers'):
        (line,) = (tmp_path / work_dir / 'unreadable.txt').read_text().splitlines()
        assert line == f'image {images}/train/a/000.png: empty'
    assert all(np.array_equal(alone[key], workers[key]) for key in alone)


def test_too_many_stop_the_run_with_a_list(tmp_path, images):
    with pytest.raises(DataError, match=r'1 training images are unreadable, more than max_share=0\.01.*000\.png'):
        run(tmp_path, images, 'pretraining', 'few', 0.01)
    assert (tmp_path / 'few' / 'unreadable.txt').is_file()


@pytest.mark.parametrize('name', ['pretraining', 'fine-tuning'])
def test_without_the_hook_nothing_is_skipped(tmp_path, images, name):
    with pytest.raises(DataError, match=r'000\.png: empty'):
        run(tmp_path, images, name, 'none')


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ConfigError, match='max_share=1.5'):
        SkipUnreadableHook(1.5)
