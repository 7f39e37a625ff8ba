"""Medians, tables and files of measurements."""

import json
import time

from hgkd_mm.speed.report import plot_bars, plot_scaling, table, write_json
from hgkd_mm.speed.rounds import median_seconds


def test_variants_take_turns_and_the_median_ignores_the_warm_up(monkeypatch):
    clock, calls = [0.0], []
    durations = {'a': iter([100, 1, 5, 2]), 'b': iter([100, 7, 7, 9])}
    monkeypatch.setattr(time, 'perf_counter', lambda: clock[0])

    def run(name: str) -> None:
        calls.append(name)
        clock[0] += next(durations[name])

    assert median_seconds({n: lambda n=n: run(n) for n in 'ab'}, rounds=3) == {'a': 2, 'b': 7}
    assert ''.join(calls) == 'abababab'


def test_the_table_shows_three_figures_and_gaps():
    rows = [dict(name='x', ms=1234.56, ratio=2.0451), dict(name='y', ms=0.1234)]
    assert table(rows, dict(name='what', ms='ms', ratio='times')).splitlines() == [
        '| what | ms | times |',
        '|---|---|---|',
        '| x | 1235 | 2.05 |',
        '| y | 0.123 | – |',
    ]


def test_files(tmp_path):
    rows = [dict(variant='dense', forward_ms=1.0, step_ms=3.0)]
    write_json(tmp_path / 'x.json', 'encoder', {'model': 'm'}, rows)
    content = json.loads((tmp_path / 'x.json').read_text())
    assert content['kind'] == 'encoder' and content['rows'] == rows and content['machine']['torch']
    plot_bars(tmp_path / 'x.png', 'title', rows)
    plot_scaling(tmp_path / 'y.png', 'title', [dict(img_size=64, fraction=1.0, relative=1.0)])
    assert all((tmp_path / name).read_bytes().startswith(b'\x89PNG') for name in ('x.png', 'y.png'))
