"""How rows and tables are named."""

from hgkd_mm.evidence.claims import CHOSEN
from hgkd_mm.leaderboard.names import data_name, label_percent, percent_text, row_names, start_name, without_percent


def test_a_share_of_the_labels_stands_behind_the_version(make_record, tables_of):
    data = dict(version='1.0', fold=3, num_train=100, num_val=20)
    (table,) = tables_of(make_record(30.0, dataset=dict(data, name='Toy, 10 % of the labels')))
    assert data_name(table) == 'Toy 1.0, 10 % of the labels, fold 3'
    assert (label_percent(table), without_percent(table)) == (10, 'Toy')


def test_a_comma_in_the_name_of_the_data_is_no_share_of_its_labels(make_record, tables_of):
    (table,) = tables_of(make_record(30.0, dataset=dict(name='Toys, wooden', version='2', fold=0)))
    assert data_name(table) == 'Toys, wooden 2, fold 0'
    assert (label_percent(table), percent_text(100), percent_text(2.5)) == (100, '', '2.5 % of the labels')


def test_variants_without_spaces_are_read_with_them(make_record, tables_of, hgkd):
    rows = [
        make_record(value, pretraining=dict(hgkd, variant=variant))
        for value, variant in ((40.0, CHOSEN.variant), (30.0, 'loss:cosine'))
    ]
    (table,) = tables_of(*rows)
    assert [start_name(row).partition(' (')[0] for row in table.rows] == [
        'H-GKD, a quarter unmasked and cells',
        'H-GKD, loss:cosine',
    ]
    assert str(CHOSEN) == 'H-GKD, a quarter unmasked and cells' and CHOSEN.fits(table.rows[0])


def test_rows_of_one_name_have_the_hash_of_their_recipe(make_record, tables_of, hgkd):
    recipes = [dict(hgkd, recipe_sha256=letter * 64) for letter in 'ab']
    starts = [*recipes, dict(recipes[0], epochs=40), None]
    (table,) = tables_of(*(make_record(40.0 - n, pretraining=start) for n, start in enumerate(starts)))
    names = [
        'H-GKD (vit-s14 layer 9), 20 epochs, 60 % masked [aaaaaa]',
        'H-GKD (vit-s14 layer 9), 20 epochs, 60 % masked [bbbbbb]',
        'H-GKD (vit-s14 layer 9), 40 epochs, 60 % masked',
        'from scratch',
    ]
    assert row_names(table.rows, short=True) == names
    assert row_names(table.rows) == [f'ResNet-18, {name}' for name in names]


def test_a_short_name_has_the_backbone_where_there_are_several(make_record, tables_of, hgkd):
    model = make_record(1.0).model
    tables = tables_of(
        make_record(40.0, pretraining=hgkd),
        make_record(30.0, model=dict(vars(model), backbone='MobileNetV2')),
    )
    rows = [row for table in tables for row in table.rows]
    assert sorted(row_names(rows, short=True)) == sorted(row_names(rows))
