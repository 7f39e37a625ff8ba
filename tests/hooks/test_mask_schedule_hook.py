from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner.priority import get_priority
from mmpretrain.structures import DataSample

from hgkd_mm.errors import ConfigError
from hgkd_mm.hooks import MaskScheduleHook, TeacherHook
from hgkd_mm.seeding import STEP, seed_everything


def batch(size=8):
    samples = [DataSample() for _ in range(size)]
    for number, sample in enumerate(samples):
        sample.set_field(torch.arange(16).view(4, 4) % 8 == number, 'visible')
    return dict(data_samples=samples)


def visible(data):
    return torch.stack([sample.visible for sample in data['data_samples']])


def at(iteration, of=10):
    return SimpleNamespace(iter=iteration, max_iters=of)


def test_by_default_the_masks_stay():
    data, before = batch(), visible(batch())
    MaskScheduleHook().before_train_iter(at(3), 0, data)
    assert torch.equal(visible(data), before)


def test_a_share_of_every_batch_is_shown_whole_and_the_rest_as_before():
    data, before = batch(), visible(batch())
    MaskScheduleHook(unmasked_share=0.25).before_train_iter(at(0), 0, data)
    assert visible(data)[:2].all()
    assert torch.equal(visible(data)[2:], before[2:])


def test_masks_follow_the_schedule():
    hook = MaskScheduleHook([(0, 0.25), (1, 0.75)], unmasked_share=0.125)
    counts = []
    for iteration in (0, 5, 10):
        data = batch()
        hook.before_train_iter(at(iteration), 0, data)
        counts.append(visible(data).flatten(1).sum(1).tolist())
    assert counts == [[16] + [12] * 7, [16] + [8] * 7, [16] + [4] * 7]


def test_masks_of_a_step_are_drawn_from_its_own_seed():
    drawn = []
    for step in (4, 5, 4):
        data = batch()
        seed_everything(STEP, 0, step, 0)
        MaskScheduleHook([(0, 0.5)]).before_train_iter(at(step), 0, data)
        drawn.append(visible(data))
        np.random.rand(step)
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])
    assert len({mask.numpy().tobytes() for mask in drawn[0]}) > 4  # an image each its own


def test_it_comes_before_the_teacher_and_needs_masks():
    assert get_priority(MaskScheduleHook.priority) < get_priority(TeacherHook.priority)
    with pytest.raises(ConfigError, match='RandomPatchMask'):
        MaskScheduleHook(unmasked_share=0.5).before_train_iter(at(0), 0, dict(data_samples=[DataSample()]))
