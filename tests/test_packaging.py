"""An installed wheel has what `mim` and `hgkd_mm::` look for."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

READ = """
import hgkd_mm
from hgkd_mm.engine import load_config
assert hgkd_mm.__file__.startswith({target!r}), hgkd_mm.__file__
cfg = load_config('heir.py', {{'data_root': 'elsewhere/'}})
print(cfg.train_cfg.max_epochs, cfg.model.backbone.depth, cfg.train_dataloader.dataset.data_root)
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    source.mkdir()
    for name in ('hgkd_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('pyproject.toml', 'README.md', 'LICENSE', 'THIRD_PARTY.md'):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check']
    build = [*pip, 'wheel', str(source), '--no-deps', '--no-build-isolation', '--no-index', '-w', str(folder)]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = folder.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def installed(wheel) -> Path:
    """Folder in which the wheel is installed, without the checkout."""
    target = wheel.parent / 'installed'
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run(command: list[str], installed: Path, folder: Path) -> subprocess.CompletedProcess:
    """Run in a folder where only the installed package is found."""
    environment = {**os.environ, 'PYTHONPATH': str(installed), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done


@pytest.mark.slow
def test_wheel_ships_configs_and_tools(wheel):
    shipped = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern in (('configs', '**/*.py'), ('configs', '**/*.yaml'), ('tools', '*.sh'), ('tools', '*.py')):
        for path in (ROOT / folder).glob(pattern):
            assert f'hgkd_mm/.mim/{path.relative_to(ROOT)}' in shipped
    assert 'hgkd_mm/.mim/model-index.yml' in shipped
    assert 'hgkd_mm/suite/Snakefile' in shipped
    assert 'hgkd_mm/suite/plugins/snakemake_logger_plugin_hgkd/__init__.py' in shipped


@pytest.mark.slow
def test_configs_of_an_installed_wheel_can_be_inherited(installed, tmp_path):
    (tmp_path / 'heir.py').write_text(
        "_base_ = 'hgkd_mm::detection/retinanet_r50_fpn_1x_coco.py'\ntrain_cfg = dict(max_epochs=7)\n"
    )
    done = run([sys.executable, '-c', READ.format(target=str(installed))], installed, tmp_path)
    assert done.stdout.split() == ['7', '50', 'elsewhere/']


@pytest.mark.slow
def test_mim_trains_with_an_installed_wheel(installed, tmp_path, mini_cutoutscenes):
    pytest.importorskip('mim')
    mim = [sys.executable, '-c', 'from mim.cli import cli; cli()']
    # known by its name alone: mim searches the package's configs
    config = 'resnet18_1xb32-coslr_cutoutscenes.py'
    options = [f'data_root={mini_cutoutscenes}', 'width=8', 'img_size=32', 'batch_size=8', 'max_epochs=1']
    command = [*mim, 'train', 'hgkd_mm', config, '--gpus', '0', '--work-dir', 'work', '--cfg-options', *options]
    done = run(command, installed, tmp_path)
    assert str(installed / 'hgkd_mm' / '.mim' / 'configs') in done.stdout
    assert json.loads((tmp_path / 'work' / 'result.json').read_text())['metrics']
