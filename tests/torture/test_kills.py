"""Killed at random moments and resumed, a run ends with the bits of one that was left alone."""

import copy

import pytest
import torch

from hgkd_mm.torture.kills import differences, kill_and_resume


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'options'),
    [('pretraining', ['num_workers=2']), ('fine-tuning', []), ('iterations', [])],
    ids=['pretraining', 'fine-tuning', 'iterations'],
)
def test_resumed_runs_are_bit_identical(name, options, tmp_path):
    kills, finished, wrong = kill_and_resume(tmp_path, name, 2, 0, *options)
    assert (kills, wrong) == (2, [])
    assert finished >= 1


def test_one_bit_is_a_difference():
    state = {'w': torch.zeros(3), 'log': [torch.arange(3.0), {'n': 1}], 'step': torch.tensor(2.0)}
    other = copy.deepcopy(state)
    assert differences(state, other) == []
    other['w'][1] = -0.0
    other['log'][1]['n'] = 2
    other['step'] += 1
    assert sorted(differences(state, other)) == ['.log.1.n: 1 and 2', '.step', '.w']
