import hashlib
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hgkd_mm.datasets.cutoutscenes.catalogue import Package, Picture
from hgkd_mm.datasets.cutoutscenes.sources import extract, fetch_deb, fetch_pictures
from hgkd_mm.errors import DownloadError
from hgkd_mm.utils import sha256_file

needs_dpkg = pytest.mark.skipif(not shutil.which('dpkg-deb'), reason='needs dpkg-deb')
CAT = Picture('mammal', 'toy', 'animals/cat.png', hashlib.sha256(b'cat').hexdigest(), 'cat')


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    """Give a package with two pictures and a link that points out of it."""
    tree = tmp_path / 'tree'
    animals = tree / 'usr/share/toy/animals'
    animals.mkdir(parents=True)
    (animals / 'cat.png').write_bytes(b'cat')
    (animals / 'dog.png').write_bytes(b'dog')
    (animals / 'link.png').symlink_to('/etc/passwd')
    (tree / 'DEBIAN').mkdir()
    (tree / 'DEBIAN/control').write_text(
        'Package: toy\nVersion: 1.0\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n'
    )
    file = tmp_path / 'toy_1.0_all.deb'
    build = ['dpkg-deb', '--root-owner-group', '--build', str(tree), str(file)]
    subprocess.run(build, check=True, capture_output=True)
    return file


@pytest.fixture
def package(deb: Path) -> Package:
    return Package('toy', '1.0', sha256_file(deb), 'usr/share/toy', 'MIT', 'x')


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a script in the place of apt-get; give a function that sets what it does."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    monkeypatch.setenv('PATH', str(folder), prepend=':')

    def become(script: str) -> None:
        file = folder / 'apt-get'
        file.write_text(f'#!/bin/sh\n{script}\n')
        file.chmod(file.stat().st_mode | stat.S_IEXEC)

    return become


@needs_dpkg
def test_only_wanted_ordinary_files_are_extracted(deb):
    wanted = ['animals/cat.png', 'animals/link.png', 'animals/cow.png', '../../../etc/passwd']
    assert extract(deb, 'usr/share/toy', wanted) == {'animals/cat.png': b'cat'}


@needs_dpkg
def test_a_damaged_package_is_refused_by_name(deb):
    deb.write_bytes(deb.read_bytes()[:-100])
    with pytest.raises(DownloadError, match=r'toy_1\.0_all\.deb'):
        extract(deb, 'usr/share/toy', ['animals/cat.png'])


@needs_dpkg
def test_a_package_is_downloaded_once_and_its_pictures_are_kept(deb, package, apt, tmp_path):
    apt(f'[ "$2" = toy=1.0 ] && cp {deb} .')
    cache, said = tmp_path / 'cache', []
    files = fetch_pictures(package, [CAT], cache, said.append)
    assert files['animals/cat.png'].read_bytes() == b'cat'
    assert [line.split()[0] for line in said] == ['downloading', 'reading']
    apt('exit 1')
    assert fetch_pictures(package, [CAT], cache, said.append) == files
    assert len(said) == 2
    # A picture damaged in the cache comes again from the package that is kept.
    files['animals/cat.png'].write_bytes(b'rat')
    assert fetch_pictures(package, [CAT], cache, said.append) == files
    assert files['animals/cat.png'].read_bytes() == b'cat'


@needs_dpkg
def test_another_version_with_the_same_pictures_is_accepted(deb, package, apt, tmp_path):
    apt(f'[ "$2" = toy ] && cp {deb} .')
    other = replace(package, version='0.9', sha256='0' * 64)
    files = fetch_pictures(other, [CAT], tmp_path / 'cache', lambda line: None)
    assert files['animals/cat.png'].read_bytes() == b'cat'


@needs_dpkg
def test_changed_pictures_are_refused_and_nothing_is_kept(deb, package, apt, tmp_path):
    apt(f'cp {deb} .')
    changed = replace(CAT, sha256='0' * 64)
    with pytest.raises(DownloadError, match=r'1 of 1 pictures .* animals/cat\.png.*--source'):
        fetch_pictures(package, [changed], tmp_path / 'cache', lambda line: None)
    assert not (tmp_path / 'cache/pictures').exists()


@needs_dpkg
def test_empty_package_lists_are_explained(package, apt, tmp_path):
    apt('echo "E: Unable to locate package toy" >&2; exit 100')
    with pytest.raises(DownloadError, match='sudo apt-get update'):
        fetch_deb(package, tmp_path / 'debs', lambda line: None)


@needs_dpkg
def test_other_failures_of_apt_are_quoted(package, apt, tmp_path):
    apt('echo "E: Failed to fetch: no network" >&2; exit 100')
    with pytest.raises(DownloadError, match='Failed to fetch: no network'):
        fetch_deb(package, tmp_path / 'debs', lambda line: None)


def test_a_system_without_apt_is_told_about_own_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    package = Package('toy', '1.0', '0' * 64, 'usr', 'MIT', 'x')
    with pytest.raises(DownloadError, match=r'apt-get and dpkg-deb are needed.*--source DIR'):
        fetch_deb(package, tmp_path / 'debs', lambda line: None)
