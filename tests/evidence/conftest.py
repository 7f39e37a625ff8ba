import pytest

from hgkd_mm.evidence.comparisons import find, render_comparisons
from hgkd_mm.evidence.measured import read_suites
from hgkd_mm.leaderboard.record import save_record


@pytest.fixture
def suites(tmp_path, record_factory, write_pretraining_to):
    """Factory of the suites below ``tmp_path``, one of which is written from the numbers of its starts.

    A start is its provenance (None from scratch), its results by fold (a number, or all of a curve), its probes by
    fold, and facts that differ from the record factory's; ``data`` names the data set, ``data_sha256`` is its hash,
    ``folds`` are the values' folds, a seed for each time that one is there.
    """

    def write(*starts, name='study'):
        for pretraining, values, probes, facts in ((*start, {})[:4] for start in starts):
            facts = dict(facts)
            data, sha256 = facts.pop('data', 'Toy'), facts.pop('data_sha256', None)
            folds = facts.pop('folds', list(range(len(values))))
            for place, (fold, value) in enumerate(zip(folds, values, strict=True)):
                seed = folds[:place].count(fold)
                curve = value if isinstance(value, tuple) else (value,)
                number = len(list(tmp_path.rglob('result.json')))
                folder = tmp_path / name / f'run{number}'
                pre = pretraining and {**pretraining, 'seed': seed, 'backbone_sha256': f'{number:064x}'}
                if pre:
                    curves = {probe: [(10.0, 1.0), (20.0, found[place])] for probe, found in probes.items()}
                    write_pretraining_to(folder, pre, **curves)
                dataset = dict(name=data, fold=fold, sha256=sha256)
                record = record_factory(curve[-1], pretraining=pre, curve=curve, dataset=dataset, seed=seed, **facts)
                save_record(record, folder / 'result.json')
        return read_suites([tmp_path])[0]

    return write


@pytest.fixture
def ours(hgkd_facts):
    """Provenance of H-GKD as it is."""
    return dict(hgkd_facts, epochs=20.0)


@pytest.fixture
def rendered():
    """Function from suites and claims to the tables of what was found."""
    return lambda suites, claims: render_comparisons(find(suites, claims), claims)


@pytest.fixture(scope='session')
def cells():
    """Function from Markdown to the lines of its tables, each by the columns' names."""

    def read(text):
        found = []
        for table in (part for part in text.split('\n\n') if part.startswith('|')):
            head, _, *lines = ([cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines())
            found += [dict(zip(head, line, strict=True)) for line in lines]
        return found

    return read
