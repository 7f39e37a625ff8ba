"""Every number in README's table is backed by a record that is committed beside it."""

from pathlib import Path

from hgkd_mm.leaderboard.collect import find_runs, make_tables
from hgkd_mm.leaderboard.formats.overview import render_overview
from hgkd_mm.utils import insert_block

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / 'docs' / 'records' / 'study'


def test_readme_has_the_table_of_the_committed_records():
    found = find_runs([RECORDS])
    assert found.problems == []
    readme = ROOT / 'README.md'
    expected = insert_block(readme, 'leaderboard', render_overview(make_tables(found.runs), found))
    assert readme.read_text(encoding='utf-8') == expected, (
        'README.md and docs/records/study disagree: '
        'python tools/leaderboard.py build docs/records/study --out leaderboard --readme README.md'
    )
