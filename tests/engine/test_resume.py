"""The newest sound checkpoint is found, whatever happened to the others."""

import io
import logging
import os

import pytest
import torch

from hgkd_mm.engine.resume import newest_checkpoint
from hgkd_mm.errors import WeightsError
from hgkd_mm.transfer.checkpoint import AtomicLocalBackend


def write(path, epoch, iterations):
    buffer = io.BytesIO()
    torch.save({'state_dict': {'w': torch.zeros(500)}, 'meta': {'epoch': epoch, 'iter': iterations}}, buffer)
    AtomicLocalBackend().put(buffer.getvalue(), path)
    (path.parent / 'last_checkpoint').write_text(str(path))
    return path


def flip(path, at=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 1
    path.write_bytes(content)


def test_a_damaged_newest_one_is_told_of_and_the_one_before_is_taken(tmp_path, caplog):
    write(tmp_path / 'epoch_1.pth', 1, 10)
    write(tmp_path / 'iter_15.pth', 1, 15)
    newest = write(tmp_path / 'epoch_2.pth', 2, 20)
    assert newest_checkpoint(tmp_path) == str(newest)
    flip(newest)
    with caplog.at_level(logging.WARNING):
        assert newest_checkpoint(tmp_path) == str(tmp_path / 'iter_15.pth')
    flip(tmp_path / 'iter_15.pth')
    assert newest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')
    (tmp_path / 'epoch_1.pth').write_bytes(b'')
    with pytest.raises(WeightsError, match=r'no sound checkpoint.*epoch_2\.pth is damaged'):
        newest_checkpoint(tmp_path)


def test_what_an_earlier_run_left_in_the_folder_is_not_the_newest(tmp_path):
    write(tmp_path / 'epoch_12.pth', 12, 120)
    write(tmp_path / 'epoch_1.pth', 1, 10)
    damaged = write(tmp_path / 'epoch_2.pth', 2, 20)
    flip(damaged)
    assert newest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')


@pytest.mark.parametrize('content', ['', 'gone/epoch_7.pth', '\0', '\ud800'.encode('utf-8', 'surrogatepass')])
def test_without_a_word_from_last_checkpoint_the_iterations_decide_not_the_clock(tmp_path, content):
    new, old = write(tmp_path / 'iter_15.pth', 1, 15), write(tmp_path / 'epoch_1.pth', 1, 10)
    os.utime(new, (0, 0))
    assert old.stat().st_mtime > 0
    (tmp_path / 'last_checkpoint').write_bytes(content if isinstance(content, bytes) else content.encode())
    assert newest_checkpoint(tmp_path) == str(new)


def test_a_moved_work_dir_is_understood(tmp_path):
    (tmp_path / 'old').mkdir()
    write(tmp_path / 'old' / 'epoch_2.pth', 2, 4)
    new = (tmp_path / 'old').rename(tmp_path / 'new')
    assert newest_checkpoint(new) == str(new / 'epoch_2.pth')
    assert newest_checkpoint(tmp_path) is None
