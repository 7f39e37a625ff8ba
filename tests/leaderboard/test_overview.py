"""One table of all tasks."""

from hgkd_mm.leaderboard.collect import make_tables
from hgkd_mm.leaderboard.formats.overview import render_overview


def _overview(found):
    lines = render_overview(make_tables(found.runs), found).splitlines()
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines if line.startswith('| ')], lines


def test_a_start_is_one_line_over_all_tasks(make_record, found_of, hgkd):
    detector = dict(task='detection', model=dict(name='MaskRCNN', backbone='ResNet-18', params=33_000_000))
    table, lines = _overview(
        found_of(
            *(make_record(value, seed=seed) for seed, value in enumerate((30.0, 32.0))),
            *(
                make_record(value, pretraining=dict(hgkd, seed=seed), seed=seed)
                for seed, value in enumerate((40.0, 44.0))
            ),
            make_record(9.0, pretraining=hgkd, **detector),
            make_record(21.0, pretraining=dict(method='SparK', epochs=20.0), **detector),
        )
    )
    head, *rows = table[:5]
    assert head == ['Backbone starts from', 'Pretraining', 'top-1 %, 10 epochs', 'box AP %, 10 epochs']
    assert rows[1:] == [
        ['H-GKD (vit-s14 layer 9)', '20 epochs, 60 % masked', '42.0 ± 2.8, n=2; +11.0 (p=0.058)', '9.0, n=1'],
        ['from scratch', '–', '31.0 ± 1.4, n=2', '–'],
        ['SparK', '20 epochs', '–', '21.0, n=1'],
    ]
    assert [line.partition(';')[0] for line in lines if line.startswith('- ')] == [
        '- **top-1 %, 10 epochs**: Toy 1, fold 0',
        '- **box AP %, 10 epochs**: Toy 1, fold 0',
    ]


def test_what_one_start_alone_was_put_through_has_no_column(make_record, found_of, hgkd):
    longer = dict(epochs=40, batch_size=32, resolution=128, recipe='AdamW, cosine')
    alone = make_record(33.0, protocol=longer)
    table, lines = _overview(found_of(make_record(30.0), make_record(40.0, pretraining=hgkd), alone))
    assert table[0][2:] == ['top-1 %, 10 epochs']
    assert not any('40 epochs' in line for line in lines)
    table, _ = _overview(found_of(alone))
    assert table[0][2:] == ['top-1 %, 40 epochs']


def test_columns_have_names_of_their_own(make_record, found_of):
    data = dict(version='1', fold=0, num_train=100, num_val=20)
    protocol = dict(epochs=10, batch_size=32, resolution=128, recipe='AdamW, cosine')
    table, _ = _overview(
        found_of(
            make_record(30.0, dataset=dict(data, name='Toy, 10 % of the labels')),
            make_record(30.0, protocol=dict(protocol, sha256='a' * 64)),
            make_record(31.0, protocol=dict(protocol, sha256='b' * 64)),
            make_record(31.0, protocol=dict(protocol, sha256='b' * 64), dataset=dict(data, name='Game')),
        )
    )
    assert sorted(table[0][2:]) == [
        'top-1 %, 10 % of the labels, 10 epochs',
        'top-1 %, 10 epochs, Game 1, fold 0 [bbbbbb]',
        'top-1 %, 10 epochs, Toy 1, fold 0 [aaaaaa]',
        'top-1 %, 10 epochs, Toy 1, fold 0 [bbbbbb]',
    ]


def test_several_students_have_a_column(make_record, found_of):
    other = dict(name='ImageClassifier', backbone='MobileNetV2', params=2_000_000)
    table, _ = _overview(found_of(make_record(30.0), make_record(35.0, model=other)))
    assert [row[:2] for row in table[:1] + table[2:4]] == [
        ['Student', 'Backbone starts from'],
        ['MobileNetV2', 'from scratch'],
        ['ResNet-18', 'from scratch'],
    ]
