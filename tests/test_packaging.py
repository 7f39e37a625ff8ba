"""An installed wheel has what `mim` and `hgkd_mm::` look for."""

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


@pytest.mark.slow
def test_wheel_ships_configs_and_tools_and_its_configs_can_be_inherited(tmp_path):
    source, target = tmp_path / 'source', tmp_path / 'installed'
    source.mkdir()
    for name in ('hgkd_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('pyproject.toml', 'README.md', 'LICENSE', 'THIRD_PARTY.md'):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check']
    build = [*pip, 'wheel', str(source), '--no-deps', '--no-build-isolation', '--no-index', '-w', str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob('*.whl')

    shipped = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern in (('configs', '**/*.py'), ('configs', '**/*.yaml'), ('tools', '*.sh'), ('tools', '*.py')):
        for path in (ROOT / folder).glob(pattern):
            assert f'hgkd_mm/.mim/{path.relative_to(ROOT)}' in shipped
    assert 'hgkd_mm/.mim/model-index.yml' in shipped
    assert 'hgkd_mm/suite/Snakefile' in shipped
    assert 'hgkd_mm/suite/plugins/snakemake_logger_plugin_hgkd/__init__.py' in shipped

    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    (tmp_path / 'heir.py').write_text(
        "_base_ = 'hgkd_mm::detection/retinanet_r50_fpn_1x_coco.py'\ntrain_cfg = dict(max_epochs=7)\n"
    )
    done = subprocess.run(
        [sys.executable, '-c', READ.format(target=str(target))],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={'PYTHONPATH': str(target), 'PATH': '/usr/bin:/bin'},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ['7', '50', 'elsewhere/']
