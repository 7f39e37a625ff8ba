"""The command writes a manifest beside the data, or says what is wrong in one go."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from hgkd_mm.datasets.checks import check_ade20k, check_coco, check_imagenet
from hgkd_mm.datasets.checks.report import write_manifest
from hgkd_mm.errors import DataError
from hgkd_mm.hooks.result_hook import dataset_facts

TOOL = Path(__file__).parents[3] / 'tools' / 'prepare_data.py'


def test_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(DataError, match='file/manifest.json: cannot be written'):
        write_manifest(tmp_path / 'file' / 'manifest.json', {})


@pytest.mark.parametrize(
    ('data', 'check', 'own', 'counts'),
    [
        ('folders', check_imagenet, True, (8, 2)),
        ('coco', check_coco, True, (2, 2)),
        ('ade', check_ade20k, 3, (2, 2)),
    ],
)
def test_results_know_the_number_of_images_from_every_manifest(request, data, check, own, counts):
    root = request.getfixturevalue(data)
    write_manifest(root / 'manifest.json', check(root, own=own))
    facts = dataset_facts(Config(dict(val_dataloader=dict(dataset=dict(data_root=str(root))))))
    assert (facts['num_train'], facts['num_val']) == counts


@pytest.mark.slow
def test_command_writes_the_manifest_and_lists_or_every_problem(folders):
    command = [sys.executable, str(TOOL), 'imagenet', '--root', str(folders), '--own', '--subset', '1', '10']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'is complete: 8 train, 2 val' in done.stdout
    assert json.loads((folders / 'manifest.json').read_text())['classes'] == ['cat', 'dog']
    assert (folders / 'meta' / 'train_10percent.txt').is_file()
    done = subprocess.run([*command[:-3], '--root', str(folders / 'train')], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith('error: ') and 'folder val is missing; beside it are cat, dog' in done.stderr
