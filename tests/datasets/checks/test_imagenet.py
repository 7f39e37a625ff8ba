"""Every fault of a folder of labelled images is named; nothing is changed."""

import os
import shutil

import pytest

from hgkd_mm.datasets.checks import check_imagenet, write_subset
from hgkd_mm.errors import DataError


def test_sound_folders_give_counts_and_classes(folders):
    manifest = check_imagenet(folders, own=True)
    assert manifest['classes'] == ['cat', 'dog']
    assert {name: split['images'] for name, split in manifest['splits'].items()} == {'train': 8, 'val': 2}


def test_hash_follows_the_files(folders):
    before = check_imagenet(folders, own=True)['splits']
    shutil.copy(folders / 'train/cat/0.jpg', folders / 'train/cat/9.jpg')
    after = check_imagenet(folders, own=True)['splits']
    assert after['train']['sha256'] != before['train']['sha256'] and after['val'] == before['val']


def test_names_in_another_encoding_than_utf8_are_names(folders):
    name = b'\xe4.jpg'  # as archives from other systems have them
    shutil.copy(folders / 'train/cat/0.jpg', os.fsencode(folders / 'train/cat') + b'/' + name)
    assert check_imagenet(folders, own=True)['splits']['train']['images'] == 9
    assert b'cat/' + name + b' 0' in write_subset(folders, 100).read_bytes().splitlines()


def test_official_counts_and_names_are_expected_of_imagenet(folders):
    with pytest.raises(DataError) as error:
        check_imagenet(folders)
    message = str(error.value)
    assert 'class folders of train: 2 found, 1,000 expected' in message
    assert 'images of train: 8 found, 1,281,167 expected' in message
    assert 'folders of val whose names are no WordNet ids (n and eight digits): cat, dog' in message
    assert 'classes of val with other than 50 images: cat has 1, dog has 1' in message


def truncate(root):
    path = root / 'train/dog/2.jpg'
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda root: shutil.rmtree(root / 'val'), 'folder val is missing; beside it are train'),
        (lambda root: shutil.rmtree(root / 'val/dog'), 'class folders of train which val does not have: dog'),
        (lambda root: (root / 'val/cow').mkdir(), r'class folders without images: val/cow(?s:.*)val which train does'),
        (lambda root: (root / 'val/dog/0.jpg').rename(root / 'val/0.jpg'), r'val has 1 images outside class folders'),
        (lambda root: (root / 'train/cat/1.jpg').write_bytes(b''), r'unreadable images: train/cat/1.jpg \(empty'),
        (truncate, r'unreadable images: train/dog/2.jpg \(cut off\)'),
        (lambda root: shutil.rmtree(root), 'is no folder'),
    ],
)
def test_each_fault_is_named_and_nothing_is_changed(folders, content_of, damage, message):
    damage(folders)
    before = content_of(folders)
    with pytest.raises(DataError, match=message):
        check_imagenet(folders, own=True)
    assert content_of(folders) == before


def test_subset_takes_the_same_share_of_every_class_each_time(folders):
    out = write_subset(folders, 50)
    lines = out.read_text().splitlines()
    assert out == folders / 'meta' / 'train_50percent.txt'
    assert [line.split('/')[0] for line in lines] == ['cat', 'cat', 'dog', 'dog']
    assert [line.split()[1] for line in lines] == ['0', '0', '1', '1']
    assert write_subset(folders, 50).read_text().splitlines() == lines
    assert set(write_subset(folders, 25).read_text().splitlines()) < set(lines)
    assert len(write_subset(folders, 1).read_text().splitlines()) == 2  # one of each class at least
    with pytest.raises(DataError, match='--subset 0: expected a percentage'):
        write_subset(folders, 0)
