"""Which of several lengths of pretraining a claim is about; times are images by what one takes, worked out by hand."""

from functools import partial

import pytest

from hgkd_mm.evidence.claims import (
    CHOSEN,
    DENSE,
    DENSE_CELLS,
    DENSE_STAGES,
    FIRST_CHOICE,
    HGKD,
    LINEAR,
    PLAIN,
    PRETRAINING_SECONDS,
    SHUFFLED,
    STUDENT_SECONDS,
    THIRD_CHOICE,
    Claim,
    Start,
)
from hgkd_mm.evidence.comparisons import find
from hgkd_mm.evidence.equal_time import AS_LONG, pretraining_seconds
from hgkd_mm.leaderboard.collect import RANDOM, SCRATCH, SPARK
from hgkd_mm.suite.spec import load_suite

Claim = partial(Claim, ours=PLAIN)
OVER_SPARK, OVER_DENSE = (Claim('classification', 'top1', Start(over)) for over in (SPARK, DENSE))


def spark(epochs, images):
    return dict(method='SparK', mask_ratio=0.6, epochs=epochs, images=images)


def dense(epochs, images, **more):
    return dict(method='DenseDistillation', epochs=epochs, images=images, **more)


def test_each_length_stands_beside_the_other_of_its_time(suites, cells, ours, rendered):
    """H-GKD takes 9 and 18 s; dense distillation, at 15 ms an image, 9 and 18: nearest in epochs is another."""
    found = suites(
        (dict(ours, images=1000), [50, 52], {LINEAR: [20, 20]}),
        (dict(ours, epochs=40.0, images=2000), [60, 62], {LINEAR: [30, 30]}),
        (dense(18.0, 1200), [57, 57], {LINEAR: [24, 26]}),
        (dense(10.0, 600), [46, 47], {LINEAR: [14, 12]}),
    )
    top1, probes = (find(found, [claim]) for claim in (OVER_DENSE, OVER_DENSE._replace(metric=LINEAR)))
    assert [one.differences for one in top1] == [[4, 5], [3, 5]]
    assert [one.differences for one in probes] == [[6, 8], [6, 4]]
    short, long = cells(rendered(found, [OVER_DENSE]))
    assert short['Ours (epochs)'].endswith('(20 + 10)') and short['Theirs (epochs)'].endswith('(10 + 10)')
    assert long['Ours (epochs)'].endswith('(40 + 10)') and long['Theirs (epochs)'].endswith('(18 + 10)')


def test_what_had_less_time_is_no_twin(suites, cells, ours, rendered):
    short, enough = spark(18.0, 899), spark(19.0, 900)
    ours = dict(ours, images=1000)
    (line,) = cells(rendered(suites((ours, [50], {}), (short, [30], {})), [OVER_SPARK]))
    assert line['Reached'] == 'no run yet'
    (one,) = find(suites((enough, [31], {})), [OVER_SPARK])
    assert one.differences == [19]


def test_what_had_less_time_is_a_line_of_its_own(suites, cells, ours, rendered):
    """Ours has 9 s, dense distillation 7.5, 8.25 and 9 (at 15 ms): nine tenths of ours are 8.1."""
    less = OVER_DENSE._replace(budget='less time')
    starts = [(dict(ours, images=1000), [50], {}), (dense(9.0, 400), [30], {}), (dense(10.0, 500), [40], {})]
    found = suites(*starts, (dense(11.0, 550), [45], {}), (dense(12.0, 600), [47], {}))
    (line,) = cells(rendered(found, [less]))
    assert line['Minus'] == 'dense distillation, less time' and line['Theirs (epochs)'].endswith('40.0 (10 + 10)')
    assert [one.differences for one in find(found, [OVER_DENSE])] == [[3]]


@pytest.mark.parametrize('images', [None, 600])
def test_nothing_has_less_than_an_unknown_time_and_none_may_have_less(suites, ours, images):
    found = suites((dict(ours, images=images and 1000), [50], {}), (dense(10.0, 600), [40], {}))
    assert find(found, [OVER_DENSE._replace(budget='less time')]) == []


def test_more_time_is_no_objection_and_other_networks_are_none(suites, ours):
    ours, other = dict(ours, images=1000), {'model': dict(name='ImageClassifier', backbone='ResNet-50', params=1)}
    found = suites((ours, [50], {}), (spark(90.0, 9000), [30], {}), (spark(20.0, 1000), [1], {}, other))
    assert [one.differences for one in find(found, [OVER_SPARK])] == [[20]]


def test_as_many_epochs_are_a_line_of_its_own(suites, cells, ours, rendered):
    found = suites(
        (dict(ours, images=1000), [50, 52], {}),
        (dict(ours, epochs=40.0, images=2000), [60, 62], {}),
        (dense(10.0, 500), [46, 47], {}),
        (dense(20.0, 1000), [57, 57], {}),
    )
    equal = OVER_DENSE._replace(budget='equal epochs')
    assert [one.differences for one in find(found, [equal])] == [[-7, -5]]  # dense distillation has no 40 epochs
    (line,) = cells(rendered(found, [equal]))
    assert line['Minus'] == 'dense distillation, equal epochs' and line['Theirs (epochs)'].endswith('(20 + 10)')


def test_a_variant_is_subtracted_where_the_claim_says_so(suites, cells, ours, rendered):
    found = suites(
        (dict(ours, images=1000, variant='mine'), [50], {LINEAR: [40]}),
        (dict(ours, images=1300), [44], {LINEAR: [31]}),
        (dense(10.0, 600), [46], {LINEAR: [30]}),
        (dense(10.0, 600, variant='cells'), [47], {LINEAR: [38]}),
    )
    claims = [
        Claim('classification', metric, over, ours=Start(HGKD, 'mine'))
        for over in (Start(DENSE), DENSE_CELLS, PLAIN)
        for metric in ('top1', LINEAR)
    ]
    assert [one.differences for one in find(found, claims)] == [[4], [10], [3], [2], [6], [9]]
    names = [line['Minus'] for line in cells(rendered(found, claims))]
    assert names[::2] == ['dense distillation', 'dense distillation, cells', 'H-GKD']


@pytest.mark.parametrize('unknown', ['ours', 'theirs'])
def test_of_unknown_times_the_epochs_decide(suites, ours, unknown):
    images = 1000 if unknown == 'theirs' else None
    found = suites(
        (dict(ours, images=images), [50], {}),
        (spark(20.0, 1), [30], {}),
        (spark(60.0, 1000 if unknown == 'ours' else None), [31], {}),
    )
    assert [one.differences for one in find(found, [OVER_SPARK])] == [[20]]


def test_scratch_has_no_time_to_be_equal(suites, ours):
    found = suites((dict(ours, images=1000), [50], {}), (None, [30], {}))
    assert [one.differences for one in find(found, [Claim('classification', 'top1', Start(SCRATCH))])] == [[20]]


def test_a_control_has_the_time_of_what_it_is_a_control_of(suites, ours):
    found = suites((dict(ours, images=1000, mask_ratio=0.45, targets_shuffled=True), [50], {}))
    ((row,),) = (table.rows for suite in found for table in suite.tables)
    assert Start(HGKD, SHUFFLED).fits(row) and pretraining_seconds(row) == pytest.approx(12)


def arms_of(suite):
    return {name: arm for name, arm in suite.pretraining.items() if arm}


def test_the_suites_have_the_times_that_the_claims_count_with():
    """No arm has less than its twins may have; what the claims call equal epochs has the epochs of ours."""
    names = ('study', 'study-controls', 'study-stages', 'study-equal-time')
    suites = [arms_of(load_suite(name)) for name in names]
    study, controls, stages, equal = suites
    starts = {
        'spark': Start(SPARK),
        'dense': Start(DENSE),
        'dense-long': Start(DENSE),
        'hgkd': FIRST_CHOICE,
        'hgkd-cells': CHOSEN,
        'shuffled': Start(HGKD, SHUFFLED),
        'random': Start(HGKD, RANDOM),
        'dense-cells': DENSE_CELLS,
        'hgkd-plain': PLAIN,
        'hgkd-stages': THIRD_CHOICE,
        'dense-stages': DENSE_STAGES,
    }
    for name, arm in (item for suite in suites for item in suite.items()):
        assert arm.seconds_per_image == PRETRAINING_SECONDS[starts[name]]
    times = {name: arm.epochs * arm.seconds_per_image for name, arm in (study | controls | stages | equal).items()}
    del times['dense-long']
    every_stage = [times.pop(name) for name in ('hgkd-stages', 'dense-stages')]
    assert min(times.values()) >= AS_LONG * max(times.values())
    assert min(every_stage) >= AS_LONG * max(every_stage) and times['spark'] >= AS_LONG * max(every_stage)
    assert controls['dense-long'].epochs == study['hgkd-cells'].epochs


@pytest.mark.parametrize(('student', 'backbone'), [('mobilenet-v2', 'MobileNetV2'), ('convnext-atto', 'ConvNeXt-atto')])
def test_another_students_arms_have_its_own_times(suites, student, backbone):
    arms = arms_of(load_suite('study-students'))
    model = {'model': dict(name='ImageClassifier', backbone=backbone, params=1)}
    (table,) = suites(
        *(
            (dict(method=method, images=1000 * arms[name].epochs_of(1000, student), **facts), [50], {}, model)
            for name, method, facts in (
                ('spark', 'SparK', {}),
                ('dense', 'DenseDistillation', {}),
                ('hgkd-cells', 'HGKD', {'variant': CHOSEN.variant}),
            )
        )
    )[0].tables
    times = [pretraining_seconds(row) for row in table.rows]
    dense = 1000 * arms['dense'].epochs_of(1000, student) * STUDENT_SECONDS[backbone][Start(DENSE)]
    assert any(time == pytest.approx(dense) for time in times)
    assert min(times) >= AS_LONG * max(times)


@pytest.mark.parametrize('name', ['study', 'study-controls', 'study-equal-time'])
def test_twice_as_long_is_all_there_is_to_the_longer_suites(name):
    study, twice = load_suite(name), load_suite(f'{name}-twice')
    doubled = {
        name: arm and arm.model_copy(update={'epochs': 2 * arm.epochs}) for name, arm in study.pretraining.items()
    }
    assert twice == study.model_copy(update={'pretraining': doubled})
