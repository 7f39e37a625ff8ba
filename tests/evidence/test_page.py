import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hgkd_mm.errors import RecordError
from hgkd_mm.evidence.claims import CLAIMS
from hgkd_mm.evidence.holm import holm
from hgkd_mm.evidence.page import HEAD, find, render, render_comparisons, render_paper, write_page
from hgkd_mm.evidence.paired import sign_flip_p
from hgkd_mm.leaderboard.collect import METHOD_NAMES, find_runs, make_tables
from hgkd_mm.leaderboard.reported import load_reported
from hgkd_mm.leaderboard.synthetic import write_synthetic
from hgkd_mm.utils import insert_block

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def records(tmp_path_factory):
    """Four ways to start, three tasks, four seeds."""
    folder = tmp_path_factory.mktemp('records')
    write_synthetic(folder, 48, students=1, seeds=4)
    return folder


def cells(table):
    return [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines()[2:]]


def differences(folder, claim):
    """H-GKD minus the other start, by seed."""
    values = {}
    for path in folder.glob('*/result.json'):
        record = json.loads(path.read_text())
        if record['task'] == claim.task:
            method = (record['pretraining'] or {'method': 'from scratch'})['method']
            values[METHOD_NAMES.get(method, method), record['seed']] = record['metrics'][claim.metric]
    return [values['H-GKD', seed] - values[claim.over, seed] for seed in range(4)]


def test_every_claim_has_the_numbers_of_its_records(records):
    lines = cells(render_comparisons(make_tables(find_runs([records]).runs)))
    assert len(lines) == len(CLAIMS)
    each = [differences(records, claim) for claim in CLAIMS]
    p_values = [stats.ttest_1samp(values, 0).pvalue for values in each]
    for line, claim, values, p, corrected in zip(lines, CLAIMS, each, p_values, holm(p_values), strict=True):
        found = dict(zip(HEAD, line, strict=True))
        low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
        assert found['Comparison'].endswith(f'H-GKD - {claim.over}')
        assert found['Difference'] == f'{np.mean(values):+.1f}'
        assert found['95 % interval'] == f'{low:+.1f} to {high:+.1f}'
        assert (found['n'], found['p'], found['p, Holm']) == ('4', f'{p:.2g}', f'{corrected:.2g}')
        assert found['p, signs'] == f'{sign_flip_p(values):.2g}'
        assert found['Must / aim'] == f'{claim.must:+g} / {claim.aim:+g}'


def test_what_was_not_run_says_so_and_a_single_pair_has_no_interval(records, tmp_path):
    for path in records.glob('*/result.json'):
        record = json.loads(path.read_text())
        if record['seed'] == 0 and (record['pretraining'] or {}).get('method') != 'SparK':
            (tmp_path / path.parent.name).mkdir()
            (tmp_path / path.parent.name / path.name).write_text(path.read_text())
    for line in cells(render_comparisons(make_tables(find_runs([tmp_path]).runs))):
        found = dict(zip(HEAD, line, strict=True))
        if found['Comparison'].endswith('SparK'):
            assert found['What'] == 'no run yet' and found['Difference'] == ''
        else:
            assert found['n'] == '1' and found['Difference'] and found['95 % interval'] == found['p'] == ''


def test_each_row_of_ours_is_a_line_however_it_came_out(records):
    tables = make_tables(find_runs([records]).runs)
    found = find(tables)
    ours = [row for table in tables for row in table.rows if row.method == 'H-GKD']
    assert {id(one.ours) for one in found} == {id(row) for row in ours}


def test_the_papers_numbers_are_those_with_its_address():
    lines = cells(render_paper(load_reported()))
    assert {line[2] for line in lines} == {'76.98 top-1 %', '80.01 top-1 %'}


def test_a_document_without_a_block_stays_as_it_is(records, tmp_path, monkeypatch):
    monkeypatch.setattr('hgkd_mm.evidence.page.render_costs', lambda *configs: 'costs\n')
    document = tmp_path / 'page.md'
    text = '<!-- paper -->\n<!-- /paper -->\n<!-- comparisons -->\n<!-- /comparisons -->\n'
    document.write_text(text)
    with pytest.raises(RecordError, match='<!-- cost -->'):
        write_page([records], document)
    assert document.read_text() == text
    document.write_text(text + '<!-- cost -->\n<!-- /cost -->\n')
    assert write_page([records], document) == []
    assert 'costs' in document.read_text() and 'no run yet' not in document.read_text()


@pytest.mark.slow
def test_the_page_has_the_tables_of_the_committed_records(monkeypatch):
    monkeypatch.chdir(ROOT)
    document = ROOT / 'docs/evidence.md'
    text = document.read_text(encoding='utf-8')
    blocks, problems = render(['docs/records'])
    assert problems == []
    for name, body in blocks.items():
        assert insert_block(document, name, body) == text, (
            f'docs/evidence.md: block {name} and docs/records disagree: python tools/evidence.py docs/records'
        )
    outside = re.sub(r'<!-- (\w+) -->.*?<!-- /\1 -->', '', text, flags=re.S)
    assert not re.search(r'\d+\.\d', outside)  # no result is typed
