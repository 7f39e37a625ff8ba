import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hgkd_mm.errors import RecordError
from hgkd_mm.evidence.claims import CHOSEN, CLAIMS, DENSE, FIRST_CHOICE, LINEAR, PLAIN, THIRD_CHOICE, Start
from hgkd_mm.evidence.comparisons import find, render_comparisons
from hgkd_mm.evidence.measured import read_suites
from hgkd_mm.evidence.page import render, render_paper, write_page
from hgkd_mm.leaderboard.collect import METHOD_NAMES, SCRATCH
from hgkd_mm.leaderboard.reported import load_reported
from hgkd_mm.leaderboard.synthetic import write_synthetic
from hgkd_mm.statistics.holm import holm
from hgkd_mm.statistics.paired import sign_flip_p
from hgkd_mm.utils import insert_block

ROOT = Path(__file__).parents[2]
BLOCKS = [
    f'<!-- {name} -->\n<!-- /{name} -->\n'
    for name in (
        'answers',
        'paper',
        'comparisons',
        'students',
        'ablations',
        'convergence',
        'pretraining',
        'diagnostics',
        'cost',
    )
]
#: Of the synthetic records, which have no variants.
EQUAL = 'equal fine-tuning'
PLAIN_CLAIMS = [
    claim._replace(ours=PLAIN) if claim.ours == CHOSEN else claim
    for claim in CLAIMS
    if claim.ours not in (FIRST_CHOICE, THIRD_CHOICE) and claim.over != PLAIN
]


@pytest.fixture(scope='module')
def records(tmp_path_factory):
    """Four ways to start, three tasks, four seeds."""
    folder = tmp_path_factory.mktemp('records')
    write_synthetic(folder / 'made-up', 48, students=1, seeds=4)
    return folder


def differences(folder, claim):
    """H-GKD minus the other start, by seed."""
    values = {}
    for path in folder.rglob('result.json'):
        record = json.loads(path.read_text())
        if record['task'] == claim.task:
            method = (record['pretraining'] or {'method': 'from scratch'})['method']
            values[METHOD_NAMES.get(method, method), record['seed']] = record['metrics'][claim.metric]
    return [values['H-GKD', seed] - values[claim.over.method, seed] for seed in range(4)]


def test_every_claim_has_the_numbers_of_its_records(records, cells):
    claims = [claim for claim in PLAIN_CLAIMS if claim.metric != LINEAR and claim.labels == 100 and claim.ours == PLAIN]
    claims = [claim for claim in claims if claim.over and not claim.over.variant and claim.budget == EQUAL]
    lines = cells(render_comparisons(find(read_suites([records])[0], claims), claims))
    each = [differences(records, claim) for claim in claims]
    p_values = [stats.ttest_1samp(values, 0).pvalue for values in each]
    for found, claim, values, p, corrected in zip(lines, claims, each, p_values, holm(p_values), strict=True):
        low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
        assert found['Minus'].startswith(claim.over.method)
        assert found['Difference'] == f'{np.mean(values):+.1f}'
        assert found['95 % interval'] == f'{low:+.1f} to {high:+.1f}'
        assert (found['n'], found['p'], found['p, Holm']) == ('4', f'{p:.2g}', f'{corrected:.2g}')
        assert found['p, signs'] == f'{sign_flip_p(values):.2g}'
        assert found['Must / aim'] == ('' if claim.must is None else f'{claim.must:+g} / {claim.aim:+g}')


def test_what_was_not_run_says_so_and_a_single_pair_has_no_interval(records, tmp_path, cells):
    for path in records.rglob('result.json'):
        record = json.loads(path.read_text())
        if record['seed'] == 0 and (record['pretraining'] or {}).get('method') != 'SparK':
            (tmp_path / 'some' / path.parent.name).mkdir(parents=True)
            (tmp_path / 'some' / path.parent.name / path.name).write_text(path.read_text())
    lines = cells(render_comparisons(find(read_suites([tmp_path])[0], PLAIN_CLAIMS), PLAIN_CLAIMS))
    ordered = sorted(PLAIN_CLAIMS, key=lambda claim: (claim.ours != PLAIN, claim.must is None))
    for found, claim in zip(lines, ordered, strict=True):
        was_run = (claim.over, claim.budget) in (
            (Start(SCRATCH), EQUAL),
            (Start(DENSE), EQUAL),
            (Start(DENSE), 'equal epochs'),
        )
        if not was_run or claim.metric == LINEAR or claim.labels < 100:
            assert found['Reached'] == 'no run yet' and found['Difference'] == ''
        else:
            assert found['n'] == '1' and found['Difference'] and found['95 % interval'] == found['p'] == ''


def test_a_record_in_the_place_of_a_folder_is_refused(records):
    path = next(records.rglob('result.json'))
    with pytest.raises(RecordError, match='result.json: no such folder; expected one with a folder of records'):
        read_suites([path])


def test_the_papers_numbers_are_those_with_its_address(cells):
    lines = cells(render_paper(load_reported()))
    assert {line['Result'] for line in lines} == {'76.98 top-1 %', '80.01 top-1 %'}


def test_a_document_without_a_block_stays_as_it_is(records, tmp_path, monkeypatch):
    monkeypatch.setattr('hgkd_mm.evidence.page.render_costs', lambda *configs: 'costs\n')
    document = tmp_path / 'page.md'
    *others, cost = BLOCKS
    text = ''.join(others)
    document.write_text(text)
    with pytest.raises(RecordError, match='<!-- cost -->'):
        write_page([records], document)
    assert document.read_text() == text and not (tmp_path / 'images').exists()
    document.write_text(text + cost)
    assert write_page([records], document) == []
    assert 'costs' in document.read_text() and '<summary><code>made-up</code></summary>' in document.read_text()
    assert 'dense distillation' in (tmp_path / 'images/learning-curves.svg').read_text()
    assert (tmp_path / 'images/pretraining-curves.svg').is_file()
    assert 'no difference has two pairs yet' in (tmp_path / 'images/claims.svg').read_text()


def test_the_study_alone_is_unfolded(suites, ours):
    suites((ours, [50], {'linear_top1': [40], 'rank_stage1': [9]}), name='study')
    blocks = render(suites((ours, [40], {'linear_top1': [30], 'rank_stage1': [8]}), name='other'))
    for name in ('ablations', 'convergence', 'pretraining', 'diagnostics'):
        assert re.findall(r'(<details.*>)\n<summary><code>(\w+)</code></summary>\n\n\|', blocks[name]) == [
            ('<details>', 'other'),
            ('<details open>', 'study'),
        ]
        assert blocks[name].count('\n\n</details>\n') == 2  # a blank line ends the table


@pytest.mark.slow
def test_the_page_has_the_tables_of_the_committed_records(monkeypatch):
    monkeypatch.chdir(ROOT)
    document = ROOT / 'docs/evidence.md'
    text = document.read_text(encoding='utf-8')
    suites, problems = read_suites(['docs/records'])
    assert problems == []
    for name, body in render(suites).items():
        assert insert_block(document, name, body) == text, (
            f'docs/evidence.md: block {name} and docs/records disagree: python tools/evidence.py docs/records'
        )
    outside = re.sub(r'<!-- (\w+) -->.*?<!-- /\1 -->', '', text, flags=re.S)
    assert not re.search(r'\d+\.\d', outside)  # no result is typed


def test_the_plot_of_pretraining_has_both_lengths_of_a_start(suites, ours, tmp_path, monkeypatch):
    monkeypatch.setattr('hgkd_mm.evidence.page.render_costs', lambda *configs: 'costs\n')
    suites(*((dict(ours, epochs=epochs), [50], {'linear_top1': [40]}) for epochs in (18.0, 36.0)))
    drawn = {}
    monkeypatch.setattr('hgkd_mm.evidence.page.draw_pretraining_curves', lambda starts, out: drawn.update(starts))
    (tmp_path / 'page.md').write_text(''.join(BLOCKS))
    write_page([tmp_path], tmp_path / 'page.md')
    assert {name: [record.pretraining.epochs for record in records] for name, records in drawn.items()} == {
        f'H-GKD (vit-s14 layer 9), {epochs} epochs, 60 % masked': [epochs] for epochs in (18, 36)
    }
