"""Principal component colours."""

import numpy as np
import pytest
import torch
from mmengine.config import Config

from hgkd_mm.errors import ConfigError
from hgkd_mm.visualization.tokens import pca_colours, unseen_dataset


def test_colours_follow_the_direction_of_largest_variance():
    tokens = torch.zeros(1, 5, 1, 4)
    tokens[0, 2, 0] = torch.tensor([-3.0, -1.0, 1.0, 3.0])
    (colours,) = pca_colours(tokens + 0.01 * torch.randn(1, 5, 1, 4, generator=torch.Generator().manual_seed(0)))
    assert colours.shape == (1, 1, 4, 3)
    assert np.all(np.diff(colours[0, 0, :, 0]) > 0) and colours.min() >= 0 and colours.max() <= 1


def test_a_perfect_prediction_has_the_teacher_s_colours_and_the_mean_token_one_colour():
    tokens = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    mean = tokens.mean((0, 2, 3), keepdim=True).expand_as(tokens)
    teacher, same, flat = pca_colours(tokens, tokens, mean)
    assert np.array_equal(teacher, same)
    assert np.ptp(flat, axis=(0, 1, 2)).max() < 1e-6 < np.ptp(teacher, axis=(0, 1, 2)).min()


def test_unseen_images_are_those_of_the_diagnostics_with_the_masks_of_training():
    load, pack = dict(type='Load'), dict(type='PackInputs')
    training = [dict(type='Load'), dict(type='Flip'), dict(type='RandomPatchMask'), dict(type='PackInputs', keys=1)]
    unseen = dict(dataset=dict(data_prefix='val', pipeline=[load, dict(type='Resize'), pack]))
    hooks = [dict(type='hgkd_mm.DiagnosticsHook', dataloader=unseen)]
    cfg = Config(dict(custom_hooks=hooks, train_dataloader=dict(dataset=dict(pipeline=training))))
    found = unseen_dataset(cfg)
    assert found.data_prefix == 'val'
    assert [step.type for step in found.pipeline] == ['Load', 'Resize', 'RandomPatchMask', 'PackInputs']
    assert found.pipeline[-1].get('keys') == 1
    assert len(cfg.custom_hooks[0].dataloader.dataset.pipeline) == 3
    with pytest.raises(ConfigError, match='no DiagnosticsHook'):
        unseen_dataset(Config(dict(custom_hooks=[])))
