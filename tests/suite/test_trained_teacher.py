"""Teachers that a suite trains itself, for real: the ablations' own ones, in small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hgkd_mm.models import CNNTeacher, ViTTeacher
from hgkd_mm.utils import sha256_file

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_trained_teachers_teach(engine, tmp_path, write_suite):
    trained = yaml.safe_load((ROOT / 'configs/suites/study-ablations.yaml').read_text())['teachers']
    small = {'batch_size': 16, 'num_workers': 0}

    def change(content):
        content['teachers'] = {name: trained[name] for name in ('own-mae', 'own-cnn')}
        for teacher in content['teachers'].values():
            teacher['train'] |= {'epochs': 2, 'options': small}
        content['pretraining']['hgkd']['teachers'] = ['own-mae', 'own-cnn']
        del content['tasks']['segmentation'], content['pretraining']['scratch']
        content['latency'] = None

    suite, work_dir = write_suite(tmp_path / 'tiny.yaml', change), tmp_path / 'work'
    command = [sys.executable, 'tools/benchmark.py', str(suite), '--work-dir', str(work_dir), '--jobs', '1']
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500)
    assert out.returncode == 0, (out.stdout + out.stderr)[-4000:]
    records = [json.loads(path.read_text()) for path in work_dir.glob('finetune/*/result.json')]
    facts = {record['pretraining']['teacher']: record['pretraining'] for record in records}
    assert {name: one['teacher_layer'] for name, one in facts.items()} == {'own-mae': 6, 'own-cnn': 3}
    for name, build, shape in (('own-mae', ViTTeacher, (192, 8, 8)), ('own-cnn', CNNTeacher, (128, 8, 8))):
        (file,) = work_dir.glob(f'teacher/{name}-fold0-*/{name}.safetensors')
        assert facts[name]['teacher_sha256'] == sha256_file(file)
        teacher = build(weights=str(file), layer=facts[name]['teacher_layer'], img_size=128)
        assert teacher.token_shapes == [shape]
        (training,) = work_dir.glob(f'teacher/{name}-training-fold0-seed0-*/epoch_2.pth')
        source = json.loads(file.with_suffix('.json').read_text())['source']
        assert source['sha256'] == sha256_file(training)
