"""Tables over all starts of a suite, of made-up records."""

import pytest

from hgkd_mm.evidence.ablations import render_ablations
from hgkd_mm.evidence.axes import find_plain

TUNED = 'top-1 %, 10 epochs, 128 px, AdamW, cosine'
TENTH = 'top-1 %, 10 % of the labels, 10 epochs, 128 px, AdamW, cosine'


def test_every_start_on_no_axis_is_a_line_beside_plain_hgkd(suites, cells, ours):
    few = {'data': 'Toy, 10 % of the labels'}
    (study,) = suites(
        (None, [30, 31], {}),
        (ours, [50, 52], {'linear_top1': [40, 42], 'knn_top1': [20, 21]}),
        (dict(ours, epochs=10.0, mask_ratio=0.3), [53, 56], {'linear_top1': [44, 45]}),
        (dict(ours, targets_shuffled=True), [29, 29], {}),
        (dict(ours, variant='whole at times'), [50, 53], {}),
        (dict(ours, method='DenseDistillation', recipe_sha256='ab' * 32), [51, 54], {}),
        (dict(ours, epochs=10.0, mask_ratio=0.3), [21], {}, few),
    )
    lines = cells(render_ablations(study))
    assert list(lines[0]) == ['Start', 'Teacher', 'Pretraining', 'Student', 'linear probe %', 'kNN %', TUNED, TENTH]
    named = [(line['Start'], line['Teacher'], line['Pretraining']) for line in lines]
    assert named == [
        ('H-GKD', 'vit-s14 layer 9', '10 epochs, 30 % masked'),
        ('H-GKD', 'vit-s14 layer 9', '20 epochs, 60 % masked'),
        ('H-GKD', 'vit-s14 layer 9, targets shuffled', '20 epochs, 60 % masked'),
        ('H-GKD, whole at times', 'vit-s14 layer 9', '20 epochs, 60 % masked'),
        ('dense distillation', 'vit-s14 layer 9', '20 epochs, 60 % masked [ababab]'),
        ('from scratch', '', ''),
    ]
    fewer, plain, shuffled, whole, dense, scratch = lines
    assert (plain[TUNED], plain['linear probe %']) == ('51.0 ± 1.4, n=2', '41.0 ± 1.4, n=2')
    assert plain['kNN %'] == '20.5 ± 0.7, n=2'
    # gains 3 and 4: t = 3.5 / 0.5 = 7 with one degree of freedom, p = 1 - 2 atan(7) / pi
    assert fewer[TUNED] == '54.5 ± 2.1, n=2; +3.5 (p=0.09)'
    assert fewer['linear probe %'] == '44.5 ± 0.7, n=2; +3.5 (p=0.09)'
    assert (fewer[TENTH], fewer['kNN %']) == ('21.0, n=1', '')
    assert whole[TUNED] == '51.5 ± 2.1, n=2; +0.5 (p=0.5)'  # gains 0 and 1: t = 1
    assert shuffled[TUNED].startswith('29.0 ± 0.0, n=2; -22.0')
    assert dense[TUNED] == '52.5 ± 2.1, n=2; +1.5 (p=0.2)'  # gains 1 and 2: t = 3
    assert (scratch[TUNED], scratch['linear probe %']) == ('30.5 ± 0.7, n=2; -20.5 (p=0.016)', '')


def test_a_probe_is_of_all_backbones_whatever_they_were_fine_tuned_for(suites, cells, ours):
    few = {'data': 'Toy, 10 % of the labels'}
    (study,) = suites(
        (ours, [50], {'linear_top1': [40]}),
        (ours, [30, 32], {'linear_top1': [40, 42]}, few),
        (dict(ours, variant='whole at times'), [53, 56], {'linear_top1': [44, 45]}),
    )
    plain, other = cells(render_ablations(study))
    assert (plain['linear probe %'], other['linear probe %']) == ('41.0 ± 1.4, n=2', '44.5 ± 0.7, n=2; +3.5 (p=0.09)')


def wide(backbone_params):
    name = f'ResNet-18 (width {backbone_params})'
    return {'model': dict(name='ResNet', backbone=name, params=backbone_params + 1, backbone_params=backbone_params)}


def test_an_axis_has_a_table_in_the_order_of_its_values(suites, cells, ours):
    ours = dict(ours, images=2000)
    starts = [
        (ours, [50, 52], {'linear_top1': [40, 42]}),
        (dict(ours, mask_ratio=0.75), [48, 49], {'linear_top1': [39, 42]}),
        (dict(ours, mask_ratio=0.0), [53, 56], {}),
        (dict(ours, epochs=5.0, images=500), [40, 43], {}),
        (dict(ours, epochs=40.0), [41, 44], {}),
        (dict(ours, epochs=80.0, images=1000, variant='long'), [60, 61], {}),
        (dict(ours, teacher='random-vit'), [30, 33], {}),
        (dict(ours, teacher='own-mae', teacher_layer=6), [45, 46], {}),  # another network's layers are not these
        (dict(ours, teacher_layer=12), [51, 54], {}),
        (dict(ours, teacher_layer=None, variant='targets:layers-6-and-9'), [52, 55], {}),
        (dict(ours, variant='positions:visible'), [45, 46], {}),
        (dict(ours, variant='positions:masked'), [46, 47], {}),
        (dict(ours, variant='positions:masked', mask_ratio=0.75), [46, 47], {}),
        (dict(ours, variant='sampling:hard'), [47, 48], {}),
        (None, [30, 31], {}),
    ]
    starts = [(*start, wide(32)) for start in starts] + [(ours, [50, 53], {}, wide(8)), (None, [20, 22], {}, wide(8))]
    (study,) = suites(*starts)
    methods, *axes = map(cells, render_ablations(study).split('\n\n'))
    assert [line['Start'] for line in methods] == [
        'H-GKD',
        'H-GKD, long',
        'H-GKD, positions:masked',  # and masked otherwise
        'from scratch',
        'from scratch',
    ]
    assert methods[1][TUNED] == '60.5 ± 0.7, n=2; +9.5 (p=0.033)'  # gains 10 and 9
    narrow = next(line for line in methods if line['Student'] == 'ResNet-18 (width 8)')
    assert narrow[TUNED] == '21.0 ± 1.4, n=2; -30.5 (p=0.01)'  # over the H-GKD of its width: -30 and -31
    values = {next(iter(axis[0])): [next(iter(line.values())) for line in axis] for axis in axes}
    assert values == {
        'Mask ratio': ['0 %', '60 % (reference)', '75 %'],
        'Teacher': ['own-mae', 'random-vit', 'vit-s14 (reference)'],
        'Teacher layer': ['9 (reference)', '12'],
        'Epochs': ['5', '20 (reference)'],
        'Images an epoch': ['50 in 40 epochs', '100 in 20 epochs (reference)'],
        'Student': ['ResNet-18 (width 8)', 'ResNet-18 (width 32) (reference)'],
        'Positions with a loss': ['masked and visible (reference)', 'masked', 'visible'],
        'Targets': ['tokens of one layer (reference)', 'layers 6 and 9'],
        'sampling': ['as in the config (reference)', 'hard'],
    }
    assert list(values) == [
        'Mask ratio', 'Teacher', 'Teacher layer', 'Epochs', 'Images an epoch', 'Student', 'Positions with a loss',
        'Targets', 'sampling',
    ]  # fmt: skip
    none, reference, most = axes[0]
    assert reference == {
        'Mask ratio': '60 % (reference)',
        'linear probe %': '41.0 ± 1.4, n=2',
        TUNED: '51.0 ± 1.4, n=2',
    }
    assert none[TUNED] == '54.5 ± 2.1, n=2; +3.5 (p=0.09)' and none['linear probe %'] == ''
    assert most['linear probe %'] == '40.5 ± 2.1, n=2; -0.5 (p=0.5)'
    assert axes[5][0][TUNED] == '51.5 ± 2.1, n=2; +0.5 (p=0.5)'  # of another network, over the reference: 0 and 1


@pytest.mark.parametrize(
    ('others', 'reference'),
    [
        ([dict(mask_ratio=0.3)], 0.6),  # the config's, where each differs from the other in one thing
        ([dict(mask_ratio=0.3), dict(mask_ratio=0.3, epochs=5.0), dict(mask_ratio=0.3, teacher_layer=3)], 0.3),
        ([dict(mask_ratio=0.3, epochs=5.0)], None),
        ([dict(mask_ratio=0.3, variant='whole at times')], None),
    ],
)
def test_the_reference_is_what_most_others_differ_from_in_one_thing(suites, ours, others, reference):
    (study,) = suites((ours, [50], {}), *((dict(ours, **other), [51], {}) for other in others))
    plain = find_plain([[(table, row)] for table in study.tables for row in table.rows])
    assert (plain and plain[0][1].pretraining.mask_ratio) == reference
