"""Which of scratch's longer trainings a claim is about; the factory's record has 10 epochs of 100 images."""

from pathlib import Path

import pytest

from hgkd_mm.evidence.claims import CHOSEN, FINETUNING_SECONDS, PLAIN, PRETRAINING_SECONDS, Claim, Start
from hgkd_mm.evidence.comparisons import find
from hgkd_mm.leaderboard.collect import SCRATCH
from hgkd_mm.suite.spec import load_suite

ROOT = Path(__file__).parents[2]
TOTAL, CONVERGED = (
    Claim('classification', 'top1', Start(SCRATCH), ours=PLAIN, budget=budget)
    for budget in ('equal total time', 'to convergence')
)


def longer(epochs, **changes):
    """Facts of a training for so many epochs of 100 images."""
    protocol = dict(epochs=epochs, batch_size=32, resolution=128, recipe='AdamW, cosine', sha256=f'{epochs:064x}')
    return {'protocol': protocol | changes, 'budget': {'finetuning_images': 100 * epochs}}


@pytest.fixture
def ours(ours):
    """Provenance of H-GKD whose pretraining takes as long as 900 images of fine-tuning."""
    return dict(ours, images=1000)


def test_the_shortest_that_is_long_enough(suites, cells, ours, rendered):
    found = suites(
        (ours, [50, 52], {}),
        (None, [20, 20], {}),
        (None, [30, 30], {}, longer(18)),
        (None, [41, 42], {}, longer(19)),
        (None, [43, 43], {}, longer(36)),
        (None, [45, 45], {}, longer(37)),
        (None, [46, 46], {}, longer(50)),
    )
    total, converged = cells(rendered(found, [TOTAL, CONVERGED]))
    assert (total['Minus'], converged['Minus']) == ('from scratch, equal total time', 'from scratch, to convergence')
    assert total['Ours (epochs)'].endswith('(20 + 10)')
    assert (total['Theirs (epochs)'], total['Difference'], total['n']) == ('41.5 ± 0.7 (19)', '+9.5', '2')
    assert (converged['Theirs (epochs)'], converged['Difference']) == ('45.0 ± 0.0 (37)', '+6.0')


@pytest.mark.parametrize(
    'facts',
    [
        longer(18),
        longer(30, recipe='AdamW, cosine, flip'),
        longer(30, lr=0.1),
        longer(30, batch_size=64),
        longer(30) | {'data': 'Other'},
        longer(30) | {'data_sha256': 'f' * 64},  # the same scenes by another decoder
        longer(30) | {'model': dict(name='ImageClassifier', backbone='ResNet-50', params=1)},
        longer(30) | {'budget': {}},
    ],
    ids=['short', 'recipe', 'lr', 'batch', 'data', 'pixels', 'network', 'unknown'],
)
def test_what_is_too_short_or_differs_by_more_than_epochs_is_none(suites, cells, ours, facts, rendered):
    found = suites((ours, [50], {}, {'data_sha256': 'e' * 64}), (None, [30], {}, {'data_sha256': 'e' * 64} | facts))
    (line,) = cells(rendered(found, [TOTAL]))
    assert line['Reached'] == 'no run yet' and line['Difference'] == ''


def test_pretraining_of_unknown_length_has_no_equal_total_time(suites, ours):
    found = suites((dict(ours, images=None), [50], {}), (None, [30], {}, longer(99)))
    assert find(found, [TOTAL]) == []


@pytest.mark.parametrize(('backbone', 'found'), [('ResNet-18', [[20]]), ('ConvNeXt-atto', [])])
def test_fine_tuning_of_another_student_was_not_timed(suites, ours, backbone, found):
    model = {'model': dict(name='ImageClassifier', backbone=backbone, params=1)}
    chosen = dict(ours, variant=CHOSEN.variant)
    records = suites((chosen, [50], {}, model), (None, [30], {}, longer(99) | model))
    assert [one.differences for one in find(records, [TOTAL._replace(ours=CHOSEN)])] == found


def test_the_suites_give_scratch_the_time_that_the_claims_ask_for():
    """The time is that of 12 epochs without masks as first measured, 19 ms an image; no start has more."""
    study, dense_prediction = load_suite('study'), load_suite('study-dense-prediction')
    assert study.pretraining['hgkd'].seconds_per_image == PRETRAINING_SECONDS[CHOSEN]
    images = study.data.unlabeled // 64 * 64  # whole batches
    longest = 12 * images * 0.019
    assert longest >= max(arm.epochs * images * arm.seconds_per_image for arm in study.pretraining.values() if arm)
    others = study.tasks | dense_prediction.tasks
    del others['classification-25pct']  # is compared at equal fine-tuning alone
    for suite, times in (('study-scratch', 1), ('study-scratch-twice', 2)):
        tasks = load_suite(suite).tasks
        assert set(tasks) == set(others)
        for name, task in tasks.items():
            seconds = FINETUNING_SECONDS[name.partition('-')[0]]
            assert task.seconds_per_image == seconds
            scenes = 154 if name.endswith('10pct') else study.data.train
            equal = others[name].epochs + longest / scenes / seconds
            assert times * equal <= task.epochs < times * (equal + 1)


def test_fine_tuning_for_longer_finds_its_scratch_in_the_same_suites():
    study, longer = load_suite('study'), load_suite('study-long')
    images = study.data.unlabeled // 64 * 64
    longest = max(arm.epochs * images * arm.seconds_per_image for arm in longer.pretraining.values() if arm)
    equal, twice = load_suite('study-scratch').tasks, load_suite('study-scratch-twice').tasks
    for name, task in longer.tasks.items():
        assert task == equal[name]
        assert task.epochs + longest / study.data.train / FINETUNING_SECONDS[name] <= twice[name].epochs
