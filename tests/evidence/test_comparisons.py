"""Lines of the claims, of made-up records whose numbers are worked out by hand."""

import re
from functools import partial

import pytest

from hgkd_mm.evidence import claims as module
from hgkd_mm.evidence.claims import (
    CHOSEN,
    CLAIMS,
    DENSE,
    FIRST_CHOICE,
    HGKD,
    LINEAR,
    OWED_TO,
    PLAIN,
    SHARE,
    THIRD_CHOICE,
    Start,
)
from hgkd_mm.evidence.comparisons import find, forest, judged, render_answers
from hgkd_mm.leaderboard.collect import RANDOM, SCRATCH, SHUFFLED, SPARK
from hgkd_mm.statistics.holm import holm

SPARK_FACTS = dict(method='SparK')
Claim = partial(module.Claim, ours=PLAIN)  # whichever the study chose
EQUAL = 'equal fine-tuning'
OURS, THEIRS = 'Ours (epochs)', 'Theirs (epochs)'
TOP1 = Claim('classification', 'top1', Start(SPARK), 8, 15)


def only(lines):
    (line,) = lines
    return line


def test_probes_are_compared_pair_by_pair(suites, cells, ours, rendered):
    found = suites(
        (ours, [50, 50, 50], {LINEAR: [40, 42, 47]}),
        (SPARK_FACTS, [30, 30, 30], {LINEAR: [30, 30, 33]}),
    )
    line = only(cells(rendered(found, [Claim('classification', LINEAR, Start(SPARK))])))
    # differences 10, 12, 14: mean 12, deviation 2, t = 12 / (2 / sqrt 3) = 10.4, interval 12 -+ 4.303 x 1.155
    assert (line['Metric'], line['Minus']) == ('linear probe %', 'SparK')
    assert line['On'] == 'Toy, folds 0, 1, 2; ResNet-18, 20 epochs, 60 % masked'
    assert (line[OURS], line[THEIRS], line['n']) == ('43.0 ± 3.6 (20 + 0)', '31.0 ± 1.7 (0)', '3')
    assert (line['Difference'], line['95 % interval'], line['p']) == ('+12.0', '+7.0 to +17.0', '0.0091')
    assert line['p, signs'] == '0.25'
    assert line['Must / aim'] == line['Reached'] == ''


def test_a_probe_is_one_line_however_many_protocols_there_are(suites, ours):
    protocols = [{}, {'protocol': dict(epochs=30, batch_size=32, resolution=128, recipe='longer')}]
    found = suites(
        *((ours, [50, 51], {LINEAR: [40, 42]}, changes) for changes in protocols),
        *((SPARK_FACTS, [30, 31], {LINEAR: [30, 30]}, changes) for changes in protocols),
    )
    assert len(find(found, [TOP1])) == 2
    assert [one.differences for one in find(found, [Claim('classification', LINEAR, Start(SPARK))])] == [[10, 12]]


def test_a_probe_has_the_pairs_of_all_protocols_and_shares_of_the_labels(suites, cells, ours, rendered):
    longer = {'protocol': dict(epochs=30, batch_size=32, resolution=128, recipe='longer')}
    few = {'data': 'Toy, 10 % of the labels'}
    found = suites(
        (ours, [50, 51], {LINEAR: [40, 42]}),
        (ours, [50, 51, 52], {LINEAR: [1, 2, 47]}, longer),  # of folds 0 and 1 the first table's count
        (SPARK_FACTS, [30], {LINEAR: [30]}),
        (SPARK_FACTS, [30, 30, 30], {LINEAR: [1, 31, 33]}, few),
    )
    line = only(cells(rendered(found, [Claim('classification', LINEAR, Start(SPARK))])))
    assert line['On'].startswith('Toy, folds 0, 1, 2; ')
    assert (line[OURS], line[THEIRS]) == ('43.0 ± 3.6 (20 + 0)', '31.3 ± 1.5 (0)')
    assert (line['Difference'], line['n']) == ('+11.7', '3')
    (one,) = find(found, [Claim('classification', LINEAR, Start(SPARK))])
    assert one.differences == [10, 11, 14]


def test_a_backbone_is_probed_once_though_tasks_give_it_other_norms(suites, ours):
    normed = {'model': dict(name='UperNet', backbone='ConvNeXt', params=9, backbone_params=8)}
    plain = {'model': dict(name='classifier', backbone='ConvNeXt', params=7, backbone_params=6)}
    found = suites(
        (ours, [50, 51], {LINEAR: [40, 42]}, plain),
        (ours, [20, 21], {LINEAR: [40, 42]}, normed),
        (SPARK_FACTS, [30, 31], {LINEAR: [30, 30]}, plain),
        (SPARK_FACTS, [10, 11], {LINEAR: [30, 30]}, normed),
    )
    assert [one.differences for one in find(found, [Claim('classification', LINEAR, Start(SPARK))])] == [[10, 12]]


def test_the_share_of_the_teachers_probe_stands_for_itself(suites, cells, ours, rendered):
    probes = {LINEAR: [40, 45, 30], f'teacher_{LINEAR}': [50, 50, 40]}  # 80, 90 and 75 %
    found = suites((ours, [50, 50, 50], probes), (SPARK_FACTS, [30, 30, 30], {LINEAR: [30, 30, 30]}))
    claims = [Claim('classification', SHARE, None, 75, 90), TOP1]
    share, other = cells(rendered(found, claims))
    assert (share['Metric'], share['Minus']) == ("linear probe, % of the teacher's", '')
    # deviation 7.64, interval 81.67 -+ 4.303 x 7.64 / sqrt 3
    assert (share[OURS], share['95 % interval'], share['n']) == ('81.7 ± 7.6 (20 + 0)', '62.7 to 100.6', '3')
    assert share[THEIRS] == share['Difference'] == share['p'] == share['p, Holm'] == share['p, signs'] == ''
    assert (share['Must / aim'], share['Reached']) == ('75 / 90', 'must')
    assert other['p, Holm'] == other['p']  # Holm's family has only lines with p


def test_controls_are_not_ours_and_ours_is_no_control(suites, cells, ours, rendered):
    shuffled = dict(ours, targets_shuffled=True, variant='chosen')
    random = dict(ours, teacher='random-vit-s14')
    found = suites(
        (ours, [50, 52, 51], {}),
        (dict(ours, mask_ratio=0.3), [55, 56, 57], {}),
        (dict(ours, variant='chosen'), [60, 61, 63], {}),
        (shuffled, [31, 29, 30.5], {LINEAR: [31, 32, 33]}),
        (random, [35, 36, 37.5], {}),
        (SPARK_FACTS, [30, 30, 30], {LINEAR: [30, 30, 30]}),
    )
    claims = [TOP1, TOP1._replace(ours=Start(HGKD, 'chosen'))]
    claims += [
        Claim('classification', 'top1', Start(SPARK), ours=Start(HGKD, c), noise=True) for c in (SHUFFLED, RANDOM)
    ]
    claims += [claims[2]._replace(metric=LINEAR)]
    text = rendered(found, claims)
    titles = ('H-GKD', 'H-GKD, chosen', 'H-GKD, shuffled targets', 'H-GKD, random teacher')
    assert re.findall(r'^\*\*(.*)\*\*', text, flags=re.M) == list(titles)  # the two of shuffled targets in one table
    lines = cells(text)
    lines.insert(4, lines.pop(3))
    assert [line['Difference'] for line in lines] == ['+21.0', '+31.3', '+0.2', '+6.2', '+2.0']
    assert [line['Must / aim'] for line in lines] == ['+8 / +15'] * 2 + ['within noise'] * 3
    # the third: 0.17 -+ 4.303 x 1.04 / sqrt 3; the fourth: 6.17 -+ 3.12; the fifth: 2 -+ 2.48
    assert [line['Reached'] for line in lines] == ['aim', 'aim', 'yes', 'no', 'yes']
    assert (lines[2]['Metric'], lines[2]['Minus']) == ('top-1 %', 'SparK')


def test_the_same_was_to_be_reached_by_both_choices():
    wanted = [[claim._replace(ours=PLAIN) for claim in CLAIMS if claim.ours == start and claim.must is not None]
              for start in (CHOSEN, FIRST_CHOICE)]  # fmt: skip
    assert wanted[0] == wanted[1] and len(wanted[0]) == 15
    third = [claim for claim in CLAIMS if claim.ours == THIRD_CHOICE and claim.must is not None]
    assert [claim._replace(ours=PLAIN) for claim in third] == [c for c in wanted[0] if c.task == 'classification']


def test_few_labels_are_claims_of_their_own(suites, cells, ours, rendered):
    few = {'data': 'Toy, 10 % of the labels'}
    found = suites(
        (ours, [50, 50], {LINEAR: [9, 9]}),
        (None, [30, 31], {}),
        (ours, [30, 30], {LINEAR: [9, 9]}, few),
        (None, [9, 10], {}, few),
    )
    top1 = [claim for claim in CLAIMS if (claim.over, claim.metric, claim.budget) == (Start(SCRATCH), 'top1', EQUAL)]
    chosen = [claim for claim in top1 if claim.ours == CHOSEN]
    all_labels, tenth, quarter = cells(rendered(found, [claim._replace(ours=PLAIN) for claim in chosen]))
    assert (all_labels['Metric'], all_labels['Minus']) == ('top-1 %', 'from scratch, equal fine-tuning')
    assert all_labels['Difference'] == '+19.5'
    assert tenth['Metric'] == 'top-1 %, 10 % of the labels'
    assert (tenth['Difference'], tenth['Must / aim']) == ('+20.5', '+8 / +20')
    assert (quarter['Metric'], quarter['Reached']) == ('top-1 %, 25 % of the labels', 'no run yet')


@pytest.mark.parametrize(
    ('gains', 'claim', 'reached'),
    [
        ([16, 15, 14, 15], TOP1, 'aim'),
        ([9, 10, 8, 9], TOP1, 'must'),
        ([9, 29, 1, 25], TOP1, 'no'),  # p is 0.1
        ([7, 7.5, 6.5, 7], TOP1, 'no'),
        ([-1, 2, 0, 0], TOP1._replace(must=0, aim=3), 'must'),
        ([-1, 0, 0, 0], TOP1._replace(must=0, aim=3), 'no'),
        ([9, 1, 2, 4], TOP1._replace(must=0, aim=3), 'must'),  # p is 0.1
        ([4, 4.2, 3.9, 4.1], TOP1._replace(must=0, aim=3), 'aim'),
        ([20], TOP1, ''),
    ],
)
def test_what_is_reached(suites, cells, ours, gains, claim, reached, rendered):
    found = suites((ours, [30 + gain for gain in gains], {}), (SPARK_FACTS, [30] * len(gains), {}))
    assert only(cells(rendered(found, [claim])))['Reached'] == reached


def test_the_study_alone_is_judged_and_until_it_is_there_everything(suites, ours):
    starts = [(ours, [50, 52], {}), (SPARK_FACTS, [30, 30], {})]
    suites(*starts, name='study-exploration')
    both = suites((ours, [40, 41], {}), (SPARK_FACTS, [30, 30], {}), name='demo')
    assert [suite.name for suite in judged(both)] == ['demo', 'study-exploration']
    assert [one.differences for one in find(judged(both), [TOP1])] == [[10, 11], [20, 22]]
    study = suites((ours, [33, 34], {}), (SPARK_FACTS, [30, 30], {}))
    assert [one.differences for one in find(judged(study), [TOP1])] == [[3, 4]]


def test_what_must_be_reached_comes_first_in_table_and_plot(suites, cells, ours, rendered):
    found = suites((ours, [50, 52], {LINEAR: [40, 42]}), (SPARK_FACTS, [30, 30], {LINEAR: [30, 30]}))
    claims = [Claim('classification', LINEAR, Start(SPARK)), TOP1._replace(ours=Start(HGKD, 'other')), TOP1]
    assert [(line['Metric'], line['Reached']) for line in cells(rendered(found, claims))] == [
        ('top-1 %', 'no run yet'), ('top-1 %', 'no'), ('linear probe %', ''),
    ]  # fmt: skip
    ((_, lines),) = forest(find(found, claims), claims).items()
    assert [line.name.partition(',')[0] for line in lines] == ['top-1 %', 'linear probe %']


def test_holm_is_over_all_lines(suites, cells, ours, rendered):
    found = suites((ours, [50, 52, 51], {}), (SPARK_FACTS, [45, 30, 30], {}), (None, [20, 21, 19], {}))
    lines = cells(rendered(found, [TOP1, TOP1._replace(over=Start(SCRATCH))]))
    p = [one.p for one in find(found, [TOP1, TOP1._replace(over=Start(SCRATCH))])]
    assert [line['p, Holm'] for line in lines] == [f'{value:.2g}' for value in holm(p)]
    assert p[1] < p[0] and lines[1]['p, Holm'] == f'{2 * p[1]:.2g}'


def test_the_plot_has_the_differences_of_the_table_that_have_an_interval(suites, ours):
    found = suites(
        (ours, [50, 52, 54], {LINEAR: [40, 42, 47], f'teacher_{LINEAR}': [50, 50, 50]}),
        (SPARK_FACTS, [30, 30, 30], {LINEAR: [30, 30, 33]}),
        (None, [20], {}),
    )
    claims = [
        TOP1,
        Claim('classification', 'top1', Start(SCRATCH), 8, 15),  # one pair
        Claim('classification', LINEAR, Start(SPARK)),
        Claim('classification', SHARE, None, 75, 90),  # no difference
    ]
    ((title, (top1, probe)),) = forest(find(found, claims), claims).items()
    assert title == 'H-GKD minus …'
    assert top1.name == 'top-1 %, 20 + 10 epochs: SparK, n=3'
    assert (top1.values, top1.wanted, top1.reached) == ([20, 22, 24], [8, 15], 'aim')
    assert top1.interval == pytest.approx((22 - 4.968, 22 + 4.968), abs=1e-3)  # 4.303 x 2 / sqrt 3
    assert probe.name == 'linear probe %, 20 + 0 epochs: SparK, n=3'
    assert (probe.values, probe.wanted, probe.reached) == ([10, 12, 14], [], '')


def test_the_answers_are_of_what_was_asked_for(suites, cells, ours):
    found = suites(
        (ours, [50, 52, 54], {LINEAR: [40, 45, 30], f'teacher_{LINEAR}': [50, 50, 40]}),
        (dict(ours, teacher='random-vit-s14'), [31], {LINEAR: [30]}),
        (dict(SPARK_FACTS, epochs=24.0), [30, 30, 30], {LINEAR: [30, 30, 33]}),
    )
    claims = [
        Claim('classification', LINEAR, Start(SPARK)),  # nothing is asked
        TOP1._replace(ours=FIRST_CHOICE),
        TOP1,
        TOP1._replace(over=Start(SCRATCH)),
        Claim('classification', SHARE, None, 75, 90),
        Claim('classification', 'top1', Start(SPARK), ours=Start(HGKD, RANDOM), noise=True),
    ]
    text = render_answers(find(found, claims), claims)
    assert re.findall(r'^\*\*(.*)\*\*', text, flags=re.M) == ['H-GKD', 'H-GKD, random teacher']
    assert [tuple(line.values()) for line in cells(text)] == [
        (
            'top-1 %',
            'SparK',
            '+8 / +15',
            'aim',
            '+22.0 (+17.0 to +27.0)',
            '3',
            '0.0027',
            '0.0027',
            '0.0055',
            '20 + 10',
            '24 + 10',
        ),
        ('top-1 %', 'from scratch, equal fine-tuning', '+8 / +15', 'no run yet', '', '', '', '', '', '', ''),
        (
            "linear probe, % of the teacher's",
            '',
            '75 / 90',
            'must',
            '81.7 (62.7 to 100.6)',
            '3',
            '',
            '',
            '',
            '20 + 0',
            '',
        ),
        ('top-1 %', 'SparK', 'within noise', '', '+1.0', '1', '', '', '', '20 + 10', '24 + 10'),
    ]


def test_seeds_of_one_fold_are_no_pairs_of_their_own(suites, cells, ours, rendered):
    """Pairs 20, 22, 21, 23, t = 21.5 / (1.291 / sqrt 4) = 33.3; folds 21, 22, t = 21.5 / (0.707 / sqrt 2) = 43."""
    folds = {'folds': [0, 0, 1, 1]}
    found = suites((ours, [50, 52, 51, 53], {}, folds), (SPARK_FACTS, [30, 30, 30, 30], {}, folds))
    line = only(cells(rendered(found, [TOP1])))
    assert (line['n'], line['p'], line['p, folds']) == ('4', '5.9e-05', '0.015')
    text = render_answers(find(found, [TOP1]), [TOP1])
    assert 'above, 1 reach *must* or *aim* with p below a hundredth: 0 of them' in text and 'first, 1 after' in text


def test_what_a_lead_is_owed_to_stands_beside_it(suites, cells, ours):
    dense = dict(method='DenseDistillation', epochs=10.0, images=600)
    claims = [TOP1._replace(over=Start(DENSE), must=0, aim=3, ours=CHOSEN), *OWED_TO]
    chosen = dict(ours, variant='aquarterunmaskedandcells', mask_ratio=0.45, images=1000)
    found = suites((chosen, [50, 51], {LINEAR: [9, 9]}), (dict(dense, variant='cells'), [48, 50], {LINEAR: [9, 8]}))
    lines = cells(render_answers(find(found, claims), claims))
    assert [line['Must / aim'] for line in lines] == ['+0 / +3', *[''] * len(OWED_TO)]
    of_cells = [
        line['Result (95 % interval)'] for line in lines if line['Minus'] == 'dense distillation, cells, less time'
    ]
    assert {result.split(' ')[0] for result in of_cells} == {'+1.5', '+0.5'}
