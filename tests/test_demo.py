"""The demo's chain: order, skipping, progress, failure."""

from pathlib import Path

import pytest

from hgkd_mm.demo import Step, demo_steps, run_steps
from hgkd_mm.engine import precision
from hgkd_mm.engine.precision import choose_precision
from hgkd_mm.errors import HGKDError


def step(folder: Path, name: str, code: str, *needs: str) -> Step:
    script = folder / f'{name}.py'
    script.write_text(code)
    return Step(name, [str(script)], folder / f'{name}.out', 1, [folder / f'{n}.out' for n in needs])


def test_steps_run_in_order_and_a_second_run_does_nothing(tmp_path, capsys):
    code = "from pathlib import Path\np = Path({path!r})\np.write_text(p.read_text() + 'x' if p.exists() else 'x')"
    chain = [
        step(tmp_path, 'two', code.format(path=str(tmp_path / 'two.out')), 'one'),
        step(tmp_path, 'one', code.format(path=str(tmp_path / 'one.out'))),
    ]
    run_steps(chain, tmp_path / 'logs')
    first = capsys.readouterr().out
    assert first.index('[2/2] one') < first.index('[1/2] two') and 'left in all' in first
    run_steps(chain, tmp_path / 'logs')
    assert capsys.readouterr().out.count('already there') == 2
    assert [s.product.read_text() for s in chain] == ['x', 'x']


def test_a_failed_step_stops_the_chain_and_names_its_log(tmp_path):
    chain = [
        step(tmp_path, 'one', "raise ValueError('disk on fire')"),
        step(tmp_path, 'two', f"open({str(tmp_path / 'two.out')!r}, 'w')", 'one'),
    ]
    with pytest.raises(HGKDError, match=r'(?s)one failed with exit status 1; its log is .*01\.log.*disk on fire'):
        run_steps(chain, tmp_path / 'logs')
    assert not chain[1].product.exists()


def test_a_step_that_makes_nothing_is_a_failure(tmp_path):
    with pytest.raises(HGKDError, match='one failed'):
        run_steps([step(tmp_path, 'one', 'pass')], tmp_path / 'logs')


def test_only_progress_is_shown_and_everything_is_logged(tmp_path, capsys):
    lines = [
        '11/23 23:52:26 - mmengine - INFO - Epoch(train) [1][2/2] eta: 0:01',
        '11/23 - paramwise_options',
        '  x = 1',
    ]
    code = f"print({chr(10).join(lines)!r})\nopen({str(tmp_path / 'one.out')!r}, 'w')"
    run_steps([step(tmp_path, 'one', code)], tmp_path / 'logs')
    out = capsys.readouterr().out
    assert 'Epoch(train)' in out and 'paramwise' not in out
    assert (tmp_path / 'logs/01.log').read_text().splitlines() == lines


def test_the_demo_compares_both_starts_on_all_tasks_with_existing_configs():
    chain = demo_steps()
    runs = [s.product.parent.name for s in chain if s.product.name == 'result.json']
    assert runs == [
        f'{task}-{start}' for start in ('scratch', 'hgkd') for task in ('detection', 'classification', 'segmentation')
    ]
    (tokens,) = (s.command for s in chain if 'tokens' in s.command)
    assert '--unseen' in tokens
    for s in chain:
        assert Path(s.command[0]).is_file()
        assert all(Path(a).is_file() for a in s.command if a.startswith('configs/'))


def test_independent_steps_run_side_by_side(tmp_path):
    meet = (
        'import time\nfrom pathlib import Path\nhere = Path({here!r})\nhere.touch()\n'
        'end = time.time() + 20\n'
        'while not Path({there!r}).exists() and time.time() < end: time.sleep(0.05)\n'
        'assert Path({there!r}).exists()\nPath({out!r}).touch()'
    )
    chain = []
    for name, other in (('one', 'two'), ('two', 'one')):
        paths = dict(here=tmp_path / f'{name}.here', there=tmp_path / f'{other}.here', out=tmp_path / f'{name}.out')
        chain.append(step(tmp_path, name, meet.format(**{k: str(v) for k, v in paths.items()})))
    run_steps(chain, tmp_path / 'logs')
    assert all(s.product.exists() for s in chain)


def test_precision_is_measured_once_for_all_rows(tmp_path, monkeypatch):
    answers = [(True, 'bfloat16: faster'), (False, 'float32: not faster')]
    monkeypatch.setattr(precision, 'bfloat16_helps', lambda: answers.pop(0))
    monkeypatch.setattr(precision.torch.cuda, 'is_available', lambda: False)
    path = tmp_path / 'work' / 'precision.json'
    assert choose_precision(path) and choose_precision(path)
    assert len(answers) == 1
    mixed = [s.product.parent.name for s in demo_steps(amp=True) if '--amp' in s.command]
    assert mixed == [
        'pretrain-hgkd',
        *(f'{task}-{s}' for s in ('scratch', 'hgkd') for task in ('classification', 'segmentation')),
    ]
    assert not any('--amp' in s.command for s in demo_steps())
