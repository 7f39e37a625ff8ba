"""The tiny suite for real: nothing is repeated, and kill -9 changes nothing."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hgkd_mm.transfer import load_checkpoint_file
from hgkd_mm.transfer.export import fingerprint

ROOT = Path(__file__).parents[2]
KILLS = 3
SEED = 5


def start(suite, work_dir, *extra):
    """Start ``tools/benchmark.py`` with a pipe for its output."""
    command = [sys.executable, 'tools/benchmark.py', str(suite), '--work-dir', str(work_dir), '--jobs', '1', *extra]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    out = process.communicate(timeout=600)[0]
    assert process.returncode == 0, out[-4000:]
    return out


def kill_tree(process):
    """Kill a process and all its descendants at once, as a power cut would."""
    tree = [process, *psutil.Process(process.pid).children(recursive=True)]
    for one in tree:
        one.kill()
    process.communicate()
    psutil.wait_procs(tree[1:], timeout=10)


def results(work_dir):
    """Give what must be the same: each run's metrics, curve and weights, each backbone's weights."""
    found = {}
    for path in work_dir.glob('finetune/*/result.json'):
        record = json.loads(path.read_text())
        weights = load_checkpoint_file(path.with_name(record['checkpoint']['file']))['state_dict']
        found[path.parent.name] = record['metrics'], record['curve'], fingerprint(weights)
    for path in work_dir.glob('pretrain/*/backbone.pth'):
        found[path.parent.name] = load_checkpoint_file(path)['meta']['weights_sha256']
    return found


def table(work_dir):
    return (work_dir / 'leaderboard/leaderboard.md').read_text()


@pytest.mark.slow
def test_killed_three_times_the_suite_ends_with_the_same_table_and_repeats_nothing(engine, tmp_path, write_suite):
    def change(content):
        del content['tasks']['segmentation'], content['latency']
        content['latency'] = None  # a measured time is never the same
        for training in (content['pretraining']['hgkd'], *content['tasks'].values()):
            training['epochs'] = 2

    suite = write_suite(tmp_path / 'tiny.yaml', change)
    quiet, killed = tmp_path / 'quiet', tmp_path / 'killed'
    assert '6 jobs to run, 0 done' in finish(start(suite, quiet))

    random_moments = random.Random(SEED)
    done = 0
    for _ in range(KILLS):
        process = start(suite, killed)
        wanted, lines = random_moments.randint(1, 2), 0
        for line in process.stdout:
            lines += '] started ' in line
            if lines == wanted:
                break
        time.sleep(random_moments.uniform(0.2, 9.0))
        kill_tree(process)
        assert len(list(killed.glob('done/*/*.json'))) >= done
        done = len(list(killed.glob('done/*/*.json')))
    assert done < 6
    stamps = {path: path.read_bytes() for path in killed.glob('done/*/*.json')}
    out = finish(start(suite, killed))
    assert f'{6 - done} jobs to run, {done} done' in out
    assert stamps == {path: path.read_bytes() for path in stamps}  # what was finished was not repeated
    assert results(killed) == results(quiet)
    assert table(killed) == table(quiet)
    assert '0 jobs to run, 6 done' in finish(start(suite, killed))
