from pathlib import Path

import pytest

from hgkd_mm.leaderboard.collect import Found, Run, make_tables
from hgkd_mm.leaderboard.record import save_record


@pytest.fixture
def make_record(record_factory):
    """The same, by its short name."""
    return record_factory


@pytest.fixture
def found_of():
    """Factory of what is found of some records."""
    return lambda *records: Found([Run(Path(f'{i}/result.json'), record) for i, record in enumerate(records)], [])


@pytest.fixture
def tables_of(found_of):
    """Factory of the tables of some records."""
    return lambda *records: make_tables(found_of(*records).runs)


@pytest.fixture
def write_record(tmp_path, record_factory):
    """Factory of record files in ``tmp_path``."""

    def write(name, *args, **kwargs):
        path = tmp_path / name / 'result.json'
        save_record(record_factory(*args, **kwargs), path)
        return path

    return write


@pytest.fixture
def write_pretraining(tmp_path, write_pretraining_to):
    """Factory of pretraining records in ``tmp_path``."""
    return lambda name, pretraining, **curves: write_pretraining_to(tmp_path / name, pretraining, **curves)


@pytest.fixture
def hgkd(hgkd_facts):
    """Provenance of a distilled backbone."""
    return dict(hgkd_facts)
