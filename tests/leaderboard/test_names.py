"""How rows and tables are named."""

from hgkd_mm.evidence.claims import CHOSEN
from hgkd_mm.leaderboard.collect import make_tables
from hgkd_mm.leaderboard.names import data_name, start_name


def test_a_share_of_the_labels_stands_behind_the_version(make_record, found_of):
    data = dict(version='1.0', fold=3, num_train=100, num_val=20)
    (table,) = make_tables(found_of(make_record(30.0, dataset=dict(data, name='Toy, 10 % of the labels'))).runs)
    assert data_name(table) == 'Toy 1.0, 10 % of the labels, fold 3'


def test_variants_without_spaces_are_read_with_them(make_record, found_of, hgkd):
    rows = [
        make_record(value, pretraining=dict(hgkd, variant=variant))
        for value, variant in ((40.0, CHOSEN.variant), (30.0, 'loss:cosine'))
    ]
    (table,) = make_tables(found_of(*rows).runs)
    assert [start_name(row).partition(' (')[0] for row in table.rows] == [
        'H-GKD, a quarter unmasked and cells',
        'H-GKD, loss:cosine',
    ]
    assert str(CHOSEN) == 'H-GKD, a quarter unmasked and cells' and CHOSEN.fits(table.rows[0])
