"""A short form of every torture, and the table that the long form writes."""

import json

import pytest

from hgkd_mm.errors import HGKDError
from hgkd_mm.torture import command


@pytest.mark.parametrize('name', ['checkpoints', 'inputs', 'fuzz', 'malicious'])
def test_nothing_damaged_or_malicious_comes_through(name):
    outcome = command.run([name], quick=True)[name]
    assert outcome.failures == []
    assert outcome.tried >= 8


@pytest.mark.slow
@pytest.mark.parametrize('name', ['stops', 'disk', 'ranks', 'rank-stops'])
def test_nothing_is_lost(name):
    outcome = command.run([name], quick=True)[name]
    assert outcome.failures == []
    assert outcome.tried >= 1


def test_results_of_pieces_add_up_and_a_failure_is_told(tmp_path, monkeypatch, capsys):
    def fail(folder, quick, outcome):
        outcome.tried, outcome.failures, outcome.note = 1234, ['lost'], 'a note'

    monkeypatch.setitem(command.TORTURES, 'disk', ('full disks', 'lost', fail))
    path, document = tmp_path / 'results.json', tmp_path / 'page.md'
    document.write_text('<!-- torture -->\n<!-- /torture -->\n')
    command.main(['--quick', '--only', 'fuzz', '--json', str(path)])
    with pytest.raises(HGKDError, match='failed: disk'):
        command.main(['--quick', '--only', 'disk', '--json', str(path), '--document', str(document)])
    assert list(json.loads(path.read_text())) == ['fuzz', 'disk']
    assert '| full disks | 1,234 | lost | 1 | a note | 0 |' in document.read_text()
    assert 'made-up records' in document.read_text()
