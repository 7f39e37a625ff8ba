"""The options of docs/method.md stand in a config as written there."""

import re
from pathlib import Path

import pytest
from mmengine.registry import HOOKS, MODELS, init_default_scope

from hgkd_mm.engine import load_config

ROOT = Path(__file__).parents[2]
BASE = ROOT / 'configs/pretraining/hgkd_resnet18_1xb16-coslr-12e_cutoutscenes.py'


def test_the_example_of_the_options_builds(tmp_path):
    document = (ROOT / 'docs/method.md').read_text()
    example = re.search(r'## Options that are off.*?```python\n(.*?)```', document, re.S)[1]
    path = tmp_path / 'options.py'
    path.write_text(f'_base_ = [{str(BASE)!r}]\n{example}')
    cfg, plain = load_config(path), load_config(BASE)
    assert cfg.custom_hooks[:-1] == plain.custom_hooks
    init_default_scope(cfg.default_scope)
    schedule = HOOKS.build(cfg.custom_hooks[-1]).schedule
    assert [schedule.ratio(progress) for progress in (0, 0.5, 1)] == pytest.approx([0.3, 0.75, 0.75])
    model, without = MODELS.build(cfg.model), MODELS.build(plain.model)
    assert model.head.relation_weight == 1 and without.head.relation_weight == 0
    added = {name for name, _ in model.named_parameters()} - {name for name, _ in without.named_parameters()}
    assert added == {'last_stage_head.projection.weight', 'last_stage_head.projection.bias'}


def test_mask_schedule_and_share_are_variables_of_the_config():
    assert not [hook for hook in load_config(BASE).custom_hooks if hook.type == 'MaskScheduleHook']
    options = {'mask_schedule': [(0, 0.2), (1, 0.6)], 'unmasked_share': 0.25, 'model.head.relation_weight': 1.0}
    cfg = load_config(BASE, options)
    (hook,) = (hook for hook in cfg.custom_hooks if hook.type == 'MaskScheduleHook')
    init_default_scope(cfg.default_scope)
    schedule = HOOKS.build(hook).schedule
    assert schedule.mean_ratio(None) == pytest.approx(0.4 * 0.75) and cfg.model.head.relation_weight == 1


def test_layers_and_backend_are_variables_of_the_config():
    plain = load_config(BASE)
    assert plain.model.head.type == 'TokenDistillationHead' and 'sparse' not in plain.model
    cfg = load_config(BASE, {'teacher_layer': [6, 9], 'sparse_backend': 'zero-filled'})
    assert cfg.custom_hooks[0].teacher.layer == [6, 9] and cfg.custom_hooks[1:] == plain.custom_hooks[1:]
    assert cfg.model.head == dict(type='SeveralTargetsHead', heads=[plain.model.head, plain.model.head])
    init_default_scope(cfg.default_scope)
    assert MODELS.build(cfg.model).sparse_forward.backend == 'zero-filled'


@pytest.mark.parametrize('method', ['hgkd', 'dense-distillation'])
def test_what_the_study_chose_are_variables_of_the_full_scale_configs(method):
    path = ROOT / f'configs/pretraining/{method}_resnet50_8xb256-amp-coslr-300e_in1k.py'
    chosen = {'unmasked_share': 0.25, 'last_stage_weight': 0.5, 'last_stage_regions': 'cell'}
    plain, cfg = load_config(path), load_config(path, chosen)
    assert 'last_stage_head' not in plain.model and cfg.custom_hooks[:-1] == plain.custom_hooks
    init_default_scope(cfg.default_scope)
    head = MODELS.build(cfg.model).last_stage_head
    assert (head.weight, head.regions, tuple(head.projection.weight.shape)) == (0.5, 'cell', (768, 2048))
    assert HOOKS.build(cfg.custom_hooks[-1]).schedule.mean_ratio(0.6) == pytest.approx(0.45)
