"""The tiny suite for real: nothing is repeated; neither kill -9 nor a request to stop changes the result."""

import json
import os
import random
import re
import signal
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
    out = process.communicate(timeout=1800)[0]
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


@pytest.fixture(scope='module')
def quiet(engine, tmp_path_factory, write_suite):
    """Give a small form of the tiny suite, and the work dir of a run that nothing disturbed."""

    def change(content):
        del content['tasks']['segmentation'], content['latency']
        content['latency'] = None  # a measured time is never the same
        content['pretraining']['hgkd']['epochs'] = 12
        content['tasks']['classification']['epochs'] = 2

    folder = tmp_path_factory.mktemp('suite')
    suite, work_dir = write_suite(folder / 'tiny.yaml', change), folder / 'work'
    assert '7 jobs to run, 0 done' in finish(start(suite, work_dir))
    return suite, work_dir


@pytest.mark.slow
def test_killed_three_times_the_suite_ends_with_the_same_table_and_repeats_nothing(quiet, tmp_path):
    suite, undisturbed = quiet
    killed = tmp_path / 'killed'
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
    assert done < 7
    stamps = {path: path.read_bytes() for path in killed.glob('done/*/*.json')}
    out = finish(start(suite, killed))
    assert f'{7 - done} jobs to run, {done} done' in out
    assert stamps == {path: path.read_bytes() for path in stamps}  # what was finished was not repeated
    assert results(killed) == results(undisturbed)
    assert table(killed) == table(undisturbed)
    assert '0 jobs to run, 7 done' in finish(start(suite, killed))


def wait_for_training(work_dir, starts):
    """Wait until the pretraining was started so often and trains; return its log."""
    limit = time.monotonic() + 900
    while time.monotonic() < limit:
        for log in work_dir.glob('logs/pretrain/*.log'):
            parts = log.read_text().split('tools/train.py')
            if len(parts) == starts + 1 and 'Epoch(train)' in parts[-1]:
                return log
        time.sleep(0.05)
    raise AssertionError('the pretraining did not start')


@pytest.mark.slow
def test_asked_to_stop_the_suite_saves_and_goes_on_to_the_same_table(quiet, tmp_path):
    suite, undisturbed = quiet
    work_dir = tmp_path / 'work'
    for starts, (number, code) in enumerate([(signal.SIGINT, 130), (signal.SIGTERM, 75)], 1):
        process = start(suite, work_dir)
        log = wait_for_training(work_dir, starts)
        tree = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        out = process.communicate(timeout=300)[0]
        assert process.returncode == code, out
        assert psutil.wait_procs(tree, timeout=0)[1] == []
        assert re.search(r'saved as .*; go on with --resume', log.read_text().splitlines()[-2])
        again = f'{sys.executable} tools/benchmark.py {suite} --work-dir {work_dir} --jobs 1'
        done = len(list(work_dir.glob('done/*/*.json')))
        assert out.splitlines()[-1] == f'stopped; {done} of 7 jobs are done. Go on with: {again}'
    # The training alone, as a scheduler's or a memory watchdog's signal would meet it.
    process = start(suite, work_dir)
    log = wait_for_training(work_dir, 3)
    children = psutil.Process(process.pid).children(recursive=True)
    (training,) = (child for child in children if 'tools/train.py' in child.cmdline())
    training.terminate()
    out = finish(process)
    assert 'FAILED' not in out and '[5/5]' in out
    assert 'started again, 1 of at most 10 times' in log.read_text()
    assert results(work_dir) == results(undisturbed)
    assert table(work_dir) == table(undisturbed)
    (picture,) = work_dir.glob('pretrain/*/pictures/tokens.png')
    assert picture.stat().st_size > 1000
