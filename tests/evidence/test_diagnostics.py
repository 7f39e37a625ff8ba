"""Tables of the diagnostics, of made-up records."""

import pytest

from hgkd_mm.evidence.diagnostics import diagnosed, render_diagnostics

#: What the hook finds of a masked student in each of two folds.
FOUND = {
    'explained_variance_visible_unseen': [0.25, 0.5],
    'explained_variance_visible_nearest': [0.3, 0.4],
    'explained_variance_masked_unseen': [0.125, 0.25],
    'explained_variance_masked_nearest': [-0.25, -0.125],
    **{f'rank_stage{stage}': [10.0 * stage, 10.0 * stage + 2] for stage in (1, 2, 3, 4)},
    **{f'cka_stage{stage}': [stage / 10, stage / 10 + 0.1] for stage in (1, 2, 3, 4)},
    'knn_top1': [20.0, 21.0],
}
NAME = 'ResNet-18, H-GKD (vit-s14 layer 9), 20 epochs, 60 % masked'


def test_a_start_has_the_means_of_the_last_points_of_its_records(suites, cells, ours):
    (study,) = suites((ours, [50, 52], FOUND))
    assert cells(render_diagnostics(study)) == [
        {
            'Start': NAME,
            'Visible': '0.375',
            'Visible, nearest': '0.350',
            'Hidden': '0.188',
            'Hidden, nearest': '-0.188',
            'Rank of each stage': '11 / 21 / 31 / 41',
            'CKA of each stage': '0.15 / 0.25 / 0.35 / 0.45',
            'kNN %': '20.5',
            'n': '2',
        }
    ]


def test_what_is_not_known_is_empty(suites, cells, ours):
    dense = dict(ours, method='DenseDistillation', mask_ratio=None)
    spark = dict(ours, method='SparK', teacher=None, teacher_layer=None, teacher_sha256=None)
    visible = {name: values for name, values in FOUND.items() if 'masked' not in name and 'knn' not in name}
    rank = {name: values for name, values in FOUND.items() if 'rank' in name}
    (study,) = suites((dense, [50], visible), (spark, [40], rank), (None, [30], {}))
    lines = sorted(cells(render_diagnostics(study)), key=lambda line: 'SparK' in line['Start'])
    of_dense, of_spark = (list(line.values())[1:] for line in lines)
    stages = '10 / 20 / 30 / 40'
    assert of_dense == ['0.250', '0.300', '', '', stages, '0.10 / 0.20 / 0.30 / 0.40', '', '1']
    assert of_spark == ['', '', '', '', stages, '', '', '1']


def test_several_targets_have_a_number_each(suites, cells, ours):
    numbered = {f'{name}_{target}': [target / 4] for name in list(FOUND)[:2] for target in (0, 1)}
    numbered |= {f'cka_stage{stage}_{target}': [stage / 10 + target / 2] for stage in (1, 2) for target in (0, 1)}
    (study,) = suites((ours, [50], {**numbered, 'rank_stage1': [9.0], 'rank_stage2': [12.0]}))
    (line,) = cells(render_diagnostics(study))
    assert (line['Visible'], line['Visible, nearest'], line['Hidden']) == ('0.000; 0.250', '0.000; 0.250', '')
    assert line['Rank of each stage'] == '9 / 12'
    assert line['CKA of each stage'] == '0.10 / 0.20; 0.60 / 0.70'


@pytest.mark.parametrize('curves', [{}, {'knn_top1': [20.0], 'explained_variance_visible': [0.5]}])
def test_records_older_than_the_diagnostics_are_left_out(suites, cells, ours, curves):
    (old,) = suites((ours, [50], curves))
    assert (diagnosed(old), render_diagnostics(old)) == ([], '')
    (both,) = suites((dict(ours, epochs=30.0), [51], FOUND))
    (line,) = cells(render_diagnostics(both))
    assert line['Start'] == NAME.replace('20', '30') and line['n'] == '1'
