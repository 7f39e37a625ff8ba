"""Groups of an optimizer's parameters."""

import copy

import torch
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from hgkd_mm.engine.optim import merge_param_groups


def test_merged_groups_compute_the_same():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2), nn.BatchNorm1d(2))
    twin = copy.deepcopy(model)
    optimizer = dict(type='AdamW', lr=0.1, weight_decay=0.3, betas=(0.9, 0.95))
    paramwise = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={'2.weight': dict(lr_mult=0.5)})
    build = DefaultOptimWrapperConstructor(dict(type='OptimWrapper', optimizer=optimizer), paramwise)
    merged, plain = build(model), build(twin)
    merge_param_groups(merged.optimizer)
    groups = [(len(g['params']), round(g['lr'], 6), g['weight_decay']) for g in merged.optimizer.param_groups]
    assert sorted(groups) == [(1, 0.05, 0.3), (1, 0.1, 0.3), (6, 0.1, 0.0)]
    assert len(plain.optimizer.param_groups) == 8
    images = torch.randn(3, 5, 3)
    for step in range(3):
        for net, wrapper in ((model, merged), (twin, plain)):
            wrapper.update_params(net(images[step]).square().sum())
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_saved_state_fits_the_merged_groups():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    build = DefaultOptimWrapperConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1)),
        dict(norm_decay_mult=0.0),
    )
    wrapper, again = build(model), build(model)
    for one in (wrapper, again):
        merge_param_groups(one.optimizer)
    wrapper.update_params(model(torch.randn(5, 3)).square().sum())
    again.load_state_dict(wrapper.state_dict())
    for parameter in model.parameters():
        found, expected = (one.optimizer.state[parameter]['momentum_buffer'] for one in (again, wrapper))
        assert torch.equal(found, expected)
