"""The set-up script's decisions; the installation itself is what `make env` proves."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


@pytest.fixture
def setup_env():
    spec = importlib.util.spec_from_file_location('setup_env', ROOT / 'tools' / 'setup_env.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _pins(name, version):
    """Requirements of a file that apply to a Python version."""
    environment = {
        'python_version': version,
        'platform_system': 'Linux',
        'platform_machine': 'x86_64',
    }
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith('#')]
    return [pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment)]


@pytest.mark.parametrize('version', ['3.10', '3.11', '3.12'])
def test_every_package_is_pinned_exactly_once(version):
    pins = [pin for name in ('build.txt', 'torch.txt', 'lock.txt', 'mmcv.txt') for pin in _pins(name, version)]
    names = [pin.name.lower() for pin in pins]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r'==[\w.]+', str(pin.specifier)) for pin in pins)
    # Both packages install the same `cv2` folder: with both there, which one is used is chance.
    assert 'opencv-python' in names and 'opencv-python-headless' not in names


@pytest.mark.parametrize('version', ['3.11', '3.12'])
def test_the_suites_engine_is_pinned_exactly_and_apart(version):
    pins = _pins('suite/lock.txt', version)
    assert {'snakemake', 'snakemake-executor-plugin-slurm'} <= {pin.name for pin in pins}
    assert all(re.fullmatch(r'==[\w.]+', str(pin.specifier)) for pin in pins)


@pytest.mark.parametrize('path', sorted((ROOT / 'requirements').rglob('*.txt')), ids=lambda path: path.name)
def test_every_pin_has_the_hashes_of_its_files(path):
    if 'hashed' in path.parts:
        pytest.skip('is what the others are compared with')
    pins = {re.split(r'[ ;]', line)[0].lower() for line in path.read_text().splitlines() if line[0] != '#'}
    hashed = ROOT / 'requirements' / 'hashed' / path.relative_to(ROOT / 'requirements')
    found, name = {}, ''
    for line in hashed.read_text().splitlines():
        if line.startswith('    --hash='):
            assert re.fullmatch(r' {4}--hash=sha256:[0-9a-f]{64}( \\)?', line)
            found[name] += 1
        else:
            name = re.split(r'[ ;]', line)[0]
            found.setdefault(name, 0)
    assert set(found) == pins, 'run `make lock`'
    assert all(found.values())


@pytest.mark.parametrize('version', ['3.10', '3.11'])
def test_the_second_stack_pins_the_original_releases(version):
    names = {
        pin.name.lower(): str(pin.specifier)
        for file in ('build.txt', 'torch.txt', 'lock.txt', 'mmcv.txt')
        for pin in _pins(f'openmmlab/{file}', version)
    }
    assert all(re.fullmatch(r'==[\w.]+', specifier) for specifier in names.values())
    wanted = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmpretrain': '1.2.0', 'mmdet': '3.3.0', 'mmsegmentation': '1.2.2'}
    wanted |= {'torch': '2.1.2', 'torchvision': '0.16.2'}
    assert {name: names[name] for name in wanted} == {name: f'=={value}' for name, value in wanted.items()}
    project = re.search(r'^dependencies = \[\n(.+?)^\]', (ROOT / 'pyproject.toml').read_text(), re.M | re.S)[1]
    needed = {Requirement(line.strip(' ",')).name.lower() for line in project.splitlines()}
    assert {name for name in needed if not name.startswith('onedl')} <= set(names)
    assert names['numpy'].startswith('==1.') and not any(name.startswith('onedl') for name in names)


def test_support_matrix_of_the_readme_is_that_of_the_pins(setup_env):
    assert setup_env.support_matrix() in (ROOT / 'README.md').read_text()


@pytest.mark.parametrize('change', ['requirements/hashed/lock.txt', 'pyproject.toml'])
def test_fingerprint_follows_the_requirements(change, setup_env, tmp_path):
    (tmp_path / 'requirements' / 'hashed').mkdir(parents=True)
    (tmp_path / 'pyproject.toml').write_text('a')
    (tmp_path / 'requirements' / 'hashed' / 'lock.txt').write_text('b')
    before = setup_env.fingerprint(tmp_path, cuda=False)
    assert setup_env.fingerprint(tmp_path, cuda=False) == before
    assert setup_env.fingerprint(tmp_path, cuda=True) != before
    (tmp_path / change).write_text('changed')
    assert setup_env.fingerprint(tmp_path, cuda=False) != before


def test_unsupported_python_is_named(setup_env, monkeypatch, tmp_path):
    monkeypatch.setattr(setup_env.sys, 'version_info', (3, 13, 0, 'final', 0))
    with pytest.raises(setup_env.SetupError, match=r'Python 3\.13 .* found, 3\.10 to 3\.12 needed'):
        setup_env.check_system(tmp_path / '.venv')


def test_missing_compiler_is_named_by_its_package(setup_env, monkeypatch, tmp_path):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    with pytest.raises(setup_env.SetupError, match=r'apt-get install g\+\+'):
        setup_env.check_system(tmp_path / '.venv')


def test_missing_library_is_named_by_its_package(setup_env, monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(setup_env.ctypes, 'CDLL', missing)
    assert {'libgl1', 'libglib2.0-0'} <= {package for package, _ in setup_env.missing_packages()}


def test_full_disk_is_told_before_anything_is_made(setup_env, monkeypatch, tmp_path):
    monkeypatch.setattr(setup_env, 'missing_packages', list)
    monkeypatch.setattr(setup_env, 'DISK_NEEDED_GIB', 10**9)
    with pytest.raises(setup_env.SetupError, match='GiB of disk are free'):
        setup_env.check_system(tmp_path / '.venv')
    assert not (tmp_path / '.venv').exists()


def test_failed_step_shows_the_end_of_its_output(setup_env, tmp_path):
    steps = setup_env.Steps(tmp_path / 'log')
    command = [sys.executable, '-c', 'import sys; print("the reason"); sys.exit(3)']
    with pytest.raises(setup_env.SetupError, match=r'(?s)the reason.*building: failed \(exit status 3\)'):
        steps.run('building', command)
    assert steps.run('trying', command, fatal=False) is False


def test_made_environment_is_left_alone_quickly(setup_env, tmp_path):
    venv = tmp_path / '.venv'
    (venv / 'bin').mkdir(parents=True)
    (venv / 'bin' / 'python').touch()
    cuda, _ = setup_env.cuda_toolkit()
    (venv / setup_env.STAMP).write_text(setup_env.fingerprint(ROOT, cuda))
    script = [sys.executable, str(ROOT / 'tools' / 'setup_env.py'), '--venv', str(venv)]
    done = subprocess.run(script, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == f'{venv}: up to date\n'
    assert sorted(os.listdir(venv)) == ['.hgkd-env', 'bin']


def test_check_says_what_to_run(tmp_path):
    script = [
        sys.executable,
        str(ROOT / 'tools' / 'setup_env.py'),
        '--check',
        '--venv',
        str(tmp_path / 'none'),
    ]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith('error: ') and 'make env' in done.stderr
