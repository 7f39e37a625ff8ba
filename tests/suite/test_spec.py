import re
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from hgkd_mm.errors import ConfigError
from hgkd_mm.suite.spec import Suite, Training, find_suite, load_suite

ROOT = Path(__file__).parents[2]
SUITES = sorted(ROOT.glob('configs/suites/*.yaml'))
TRAINING = {'config': 'a.py', 'epochs': 1}
GOOD = {
    'students': {'resnet18': {}},
    'teachers': {'vit': {'weights': 'vit.safetensors'}},
    'pretraining': {'scratch': None, 'hgkd': {**TRAINING, 'teachers': ['vit']}},
    'tasks': {'classification': TRAINING},
}


def load(tmp_path, **changes):
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return load_suite(path)


@pytest.mark.parametrize('path', SUITES, ids=lambda path: path.stem)
def test_shipped_suites_are_valid_and_found_by_name(path):
    assert load_suite(path) == load_suite(path.stem)


def test_the_documented_files_are_valid(tmp_path):
    documented = re.findall('```yaml\n(.*?)```', (ROOT / 'docs/benchmark.md').read_text(), re.DOTALL)
    path = tmp_path / 'mine.yaml'
    path.write_text(documented[1])
    heir = load_suite(path)
    assert heir.pretraining['hgkd'].options == {'mask_ratio': 0.3} and list(heir.tasks) == ['classification']
    suite = Suite.model_validate(yaml.safe_load(documented[0]))
    assert suite.students['resnet18'].options == {'width': 64} and suite.pretraining['hgkd'].amp == 'auto'
    assert suite.tasks['classification'].starts is None and suite.tasks['longer'].starts == ['scratch']


def test_the_small_suite_compares_four_starts_on_three_tasks():
    suite = load_suite('cutoutscenes-small')
    assert set(suite.pretraining) == {'scratch', 'spark', 'dense', 'hgkd'} and suite.pretraining['scratch'] is None
    assert set(suite.tasks) == {'classification', 'detection', 'segmentation'}
    assert len(suite.data.folds) * len(suite.seeds) >= 2


def test_the_ablations_differ_from_the_reference_in_one_thing():
    suite = load_suite('study-ablations')
    reference = suite.pretraining['hgkd']
    # these follow from the one thing
    together = {'model.head.in_channels', 'warmup_epochs', 'token_cache'}
    together |= {'last_stage_regions', 'model.last_stage_head.distance', 'model.every_stage'}
    decoder = {'model.backbone.out_indices', 'model.neck.in_channels', 'model.neck.channels', 'model.neck.out_level'}
    for name, arm in suite.pretraining.items():
        if arm in (None, reference):
            continue
        differing = {key for key in arm.options.keys() | reference.options.keys()
                     if arm.options.get(key) != reference.options.get(key)} - together - {'variant'}  # fmt: skip
        if differing & decoder and arm.options['variant'].startswith('decoder:'):
            differing = {'decoder'}
        if arm.options.get('variant', '').startswith('optimizer:'):
            differing = {key.removeprefix('optim_wrapper.').partition('.')[0] for key in differing}
        differing |= {key for key in ('config', 'teachers') if getattr(arm, key) != getattr(reference, key)}
        if arm.epochs != reference.epochs and 'train_dataloader.dataset.indices' not in differing:
            differing.add('epochs')
        assert len(differing) == 1, name
    # as many steps, of as many images each
    steps = {
        arm.options.get('train_dataloader.dataset.indices', 2000) // 32 * arm.epochs
        for name, arm in suite.pretraining.items()
        if name in ('hgkd', 'images1000', 'images400')
    }
    assert steps == {372}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'task': {}}, 'task: unknown key; did you mean tasks?'),
        ({'tasks': {'a': {**TRAINING, 'epoch': 2}}}, r'tasks.a.epoch: unknown key; did you mean epochs\?'),
        ({'tasks': {'a': {'config': 'a.py'}}}, 'tasks.a: give the budget either as epochs or as images'),
        ({'tasks': {'a': {**TRAINING, 'images': 5}}}, 'either as epochs or as images'),
        ({'tasks': {'a': {**TRAINING, 'epochs': 'many'}}}, "tasks.a.epochs: .*integer.*found 'many'"),
        ({'tasks': {'a': {**TRAINING, 'epochs': {'vgg': 2}}}}, r"tasks.a.epochs: of \['vgg'\]; expected .'resnet18'"),
        (
            {'tasks': {'a': {**TRAINING, 'epochs': {'resnet18': 0}}}},
            'tasks.a.epochs.resnet18: .*greater than 0, found 0',
        ),
        ({'tasks': {'../a': TRAINING}}, r'tasks.\.\./a: .*pattern'),
        ({'tasks': {}}, 'tasks: .*at least 1'),
        ({'teachers': {}}, r"pretraining.hgkd.teachers: 'vit' not among \[\]"),
        ({'tasks': {'a': {**TRAINING, 'starts': ['mae']}}}, r"tasks.a.starts: 'mae' not among \['hgkd', 'scratch'\]"),
        ({'tasks': {'a': {**TRAINING, 'starts': []}}}, 'tasks.a.starts: .*at least 1'),
        ({'tasks': {'a': {**TRAINING, 'starts': ['scratch']}}}, 'pretraining: no task has hgkd among its starts'),
        ({'tasks': {'a': {**TRAINING, 'start': ['hgkd']}}}, r'tasks.a.start: unknown key; did you mean starts\?'),
        ({'teachers': {'vit': {}}}, r'teachers.vit: give one of convert, weights and train'),
        (
            {'teachers': {'vit': {'train': {**TRAINING, 'epochs': {'resnet18': 2}}}}},
            'teachers.vit: train.epochs: of each student; expected one number',
        ),
        ({'seeds': [0, 0]}, 'seeds: .* twice'),
        ({'data': {'folds': [-1]}}, 'data.folds.0: .*greater than or equal to 0'),
        ({'data': {'size': 0}}, 'data.size: .*greater than 0'),
    ],
)
def test_what_is_wrong_is_said_with_its_key(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        load(tmp_path, **changes)
    assert 'mine.yaml' in str(error.value)


@pytest.mark.parametrize('text', ['tasks: [', '- a\n- b', ''])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / 'mine.yaml').write_text(text)
    with pytest.raises(ConfigError, match='mine.yaml'):
        load_suite(tmp_path / 'mine.yaml')


def test_a_suite_inherits_as_mmengines_configs_do(tmp_path):
    (tmp_path / 'bases').mkdir()
    (tmp_path / 'bases/first.yaml').write_text(yaml.safe_dump({**GOOD, 'seeds': [0, 1]}))
    second = {
        '_base_': 'first.yaml',
        'pretraining': {'hgkd': {'epochs': 5, 'options': {'lr': 0.1, 'width': 8}}, 'mae': TRAINING},
        'seeds': [3],
    }
    (tmp_path / 'bases/second.yaml').write_text(yaml.safe_dump(second))
    mine = {
        '_base_': 'bases/second.yaml',
        'pretraining': {'hgkd': {'options': {'_delete_': True, 'width': 4}}},
        'tasks': {'_delete_': True, 'detection': TRAINING},
    }
    (tmp_path / 'mine.yaml').write_text(yaml.safe_dump(mine))
    suite = load_suite(tmp_path / 'mine.yaml')
    assert suite == Suite.model_validate(Config.fromfile(tmp_path / 'mine.yaml').to_dict())
    hgkd = suite.pretraining['hgkd']
    assert (hgkd.config, hgkd.epochs, hgkd.teachers, hgkd.options) == ('a.py', 5, ['vit'], {'width': 4})
    assert list(suite.pretraining) == ['hgkd', 'scratch', 'mae'] and suite.pretraining['scratch'] is None
    assert list(suite.tasks) == ['detection'] and suite.seeds == [3]


def test_a_shipped_suite_can_be_inherited_by_its_name(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('{_base_: cutoutscenes-small, data: {folds: [4]}}')
    shipped = load_suite('cutoutscenes-small')
    assert load_suite(path) == shipped.model_copy(update={'data': shipped.data.model_copy(update={'folds': [4]})})


@pytest.mark.parametrize(
    ('base', 'message'),
    [
        ('nothing.yaml', 'mine.yaml: _base_: [^ ]*nothing.yaml does not exist'),
        ('nothing', 'mine.yaml: _base_: suite nothing does not exist; there are cutoutscenes-small'),
        ('here.yaml', 'mine.yaml: _base_: [^ ]*here.yaml does not exist'),
        ('mine.yaml', 'mine.yaml: _base_: mine.yaml inherits from this file'),
        ('between.yaml', 'between.yaml: _base_: mine.yaml inherits from this file'),
        ('broken.yaml', 'broken.yaml is not YAML'),
        ('[a.yaml, b.yaml]', r"mine.yaml: _base_: found \['a.yaml', 'b.yaml'\], expected the path or the name"),
    ],
)
def test_a_base_that_cannot_be_inherited_is_named(tmp_path, monkeypatch, base, message):
    (tmp_path / 'current').mkdir()
    (tmp_path / 'current' / 'here.yaml').write_text('{}')
    monkeypatch.chdir(tmp_path / 'current')
    (tmp_path / 'mine.yaml').write_text(f'_base_: {base}')
    (tmp_path / 'between.yaml').write_text('_base_: mine.yaml')
    (tmp_path / 'broken.yaml').write_text('tasks: [')
    with pytest.raises(ConfigError, match=message):
        load_suite(tmp_path / 'mine.yaml')


def test_a_missing_suite_names_those_that_there_are():
    with pytest.raises(ConfigError, match=r'nothing does not exist; there are cutoutscenes-small'):
        find_suite('nothing')


@pytest.mark.parametrize(('images', 'epochs'), [(1000, 1), (2400, 2), (2600, 3), (10, 1)])
def test_a_budget_of_images_is_rounded_to_epochs(images, epochs):
    assert Training(config='a.py', images=images).epochs_of(1000, 'resnet18') == epochs


def test_students_may_have_budgets_of_their_own(tmp_path):
    suite = load(
        tmp_path,
        students={'resnet18': {}, 'convnext': {}},
        tasks={'classification': {**TRAINING, 'epochs': {'resnet18': 2, 'convnext': 3}}},
    )
    task = suite.tasks['classification']
    assert {student: task.epochs_of(1000, student) for student in suite.students} == {'resnet18': 2, 'convnext': 3}
