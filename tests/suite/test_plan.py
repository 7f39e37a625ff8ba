import argparse

import pytest

from hgkd_mm.engine.config import add_cfg_options, load_config
from hgkd_mm.errors import ConfigError, WeightsError
from hgkd_mm.suite.plan import make_plan
from hgkd_mm.suite.spec import load_suite


@pytest.fixture
def expand(tmp_path, write_suite):
    def expand(change=None):
        return make_plan(load_suite(write_suite(tmp_path / 'tiny.yaml', change)), 'tiny', tmp_path / 'work')

    return expand


def names(plan):
    return {job.name for job in plan.jobs}


def changed(before, after):
    """Kinds and methods of the jobs that one plan has and the other has not."""
    return sorted(
        {job.title.removesuffix('-resnet18-fold0-seed0') for job in after.jobs if job.name not in names(before)}
    )


def test_every_combination_is_there_and_waits_for_what_it_needs(expand):
    def change(content):
        content['data']['folds'], content['seeds'] = [0, 1], [0, 1, 2]

    plan = expand(change)
    counts = {}
    for index, job in enumerate(plan.jobs):
        counts[job.kind] = counts.get(job.kind, 0) + 1
        assert set(job.needs) <= {other.name for other in plan.jobs[:index]}
    assert counts.pop('pictures') == 3  # of one fold and seed: tokens of H-GKD, segmentations of two
    assert counts == {'data': 2, 'tokens': 2, 'pretrain': 6, 'finetune': 24, 'latency': 2, 'leaderboard': 1}
    by_name = {job.name: job for job in plan.jobs}
    for job in plan.jobs:
        if job.kind == 'pictures':  # of scenes that no training saw
            assert ('--unseen' in job.command) == ('tokens' in job.command)
        if job.kind == 'finetune' and '-hgkd-' in job.name:
            (before,) = (by_name[need] for need in job.needs if by_name[need].kind == 'pretrain')
            assert before.title.rpartition('resnet18')[2] == job.title.rpartition('resnet18')[2]  # same fold and seed
            assert f'pretrained={before.product}' in job.command
        if job.kind == 'finetune' and '-scratch-' in job.name:
            assert not any('pretrained' in part for part in job.command)


def test_a_task_may_be_limited_to_some_starts(expand, teacher):
    def change(content, **limit):
        content['data']['folds'] = [0, 1]
        content['teachers']['other'] = {'weights': str(teacher)}
        content['pretraining']['hgkd']['teachers'] = ['random', 'other']
        content['students']['wider'] = {'options': {**content['students']['resnet18']['options'], 'width': 16}}
        for recipe in (*content['pretraining'].values(), *content['tasks'].values()):
            if recipe:
                recipe['config'] = recipe['config'].format(student='resnet18', short='r18')
        content['tasks'] = {'longer': {**content['tasks']['classification'], **limit}, **content['tasks']}

    whole, scratch, hgkd = (
        expand(lambda c, limit=limit: change(c, **limit))
        for limit in ({}, {'starts': ['scratch']}, {'starts': ['hgkd']})
    )
    for limited, starts in ((scratch, {'scratch'}), (hgkd, {'hgkd-random', 'hgkd-other'})):
        longer = [job for job in limited.jobs if job.name.startswith('finetune/longer-')]
        assert len(longer) == len(starts) * 4  # 2 students x 2 folds
        assert {job.title.split('longer-')[1].rsplit('-', 3)[0] for job in longer} == starts
        runs = {job.name for job in whole.jobs if job.kind == 'finetune'}
        assert {job.name for job in limited.jobs if job.kind == 'finetune'} < runs  # the same folders
        timed = [job.title.removesuffix('-fold0-seed0') for job in limited.jobs if job.kind == 'latency']
        some = 'scratch' if limited is scratch else 'hgkd-random'
        assert timed == [
            f'latency {task}-{start}-{student}'
            for task, start in (('longer', some), ('classification', 'scratch'), ('segmentation', 'scratch'))
            for student in ('resnet18', 'wider')
        ]


def test_a_budget_of_images_counts_the_labels_in_use(expand):
    def change(content):
        task = content['tasks']['classification']
        del task['epochs']
        task['images'] = 64
        content['tasks']['few'] = {**task, 'options': {'label_share': 0.25}}

    epochs = {job.title.split('-')[0]: job.epochs for job in expand(change).jobs if job.kind == 'finetune'}
    assert epochs == {'finetune classification': 2, 'finetune few': 8, 'finetune segmentation': 1}


def test_a_plan_does_not_depend_on_where_it_runs(expand, tmp_path, write_suite):
    suite = load_suite(write_suite(tmp_path / 'tiny.yaml'))
    assert names(make_plan(suite, 'tiny', 'elsewhere')) == names(expand())


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (
            lambda c: c['tasks']['segmentation'].update(epochs=2),
            {'finetune segmentation-', 'latency segmentation-', 'pictures segmentation-'},
        ),
        (
            lambda c: c['tasks']['segmentation'].update(options={'lr': 1e-4}),
            {'finetune segmentation-', 'latency seg', 'pictures seg'},
        ),
        (
            lambda c: c['pretraining']['hgkd'].update(options={'mask_ratio': 0.5}),
            {'pretrain hgkd', 'finetune cl', 'fin', 'pictures hgkd', 'pictures segmentation-hgkd'},
        ),
        (lambda c: c['pretraining']['hgkd'].update(seconds_per_image=9.0), set()),
        (lambda c: c['latency'].update(runs=7), {'latency'}),
        (lambda c: c['tasks']['classification'].update(pictures='detections'), {'pictures classification-'}),
    ],
    ids=['budget', 'option', 'pretraining', 'estimate', 'latency', 'pictures'],
)
def test_a_change_renames_exactly_the_jobs_that_depend_on_it(expand, change, expected):
    before = expand()
    found = changed(before, expand(change))
    assert all(any(name.startswith(part) for part in expected) for name in found)
    assert all(any(name.startswith(part) for name in found) for part in expected)
    if 'pretrain hgkd' in expected:
        assert not any('scratch' in name for name in found) and not any(name.startswith('tokens') for name in found)


def test_fewer_images_have_tokens_of_their_own(expand):
    def change(content):
        content['pretraining']['few'] = {**content['pretraining']['hgkd'], 'pictures': None}
        content['pretraining']['few']['options'] = {'train_dataloader.dataset.indices': 16}

    before, after = expand(), expand(change)
    added = [job for job in after.jobs if job.kind == 'tokens' and job.name not in names(before)]
    (few,) = (job for job in after.jobs if job.name.startswith('pretrain/few'))
    assert len(added) == 1 and added[0].name in few.needs and 'train_dataloader.dataset.indices=16' in added[0].command
    (whole,) = (job for job in after.jobs if job.name.startswith('pretrain/hgkd'))
    assert whole.name in names(before) and few.work < whole.work


def test_other_pictures_or_another_teacher_change_what_is_made_of_them(expand, pictures, teacher):
    before = expand()
    extra = pictures / 'cutouts/bird/bird9.png'
    extra.write_bytes((pictures / 'cutouts/bird/bird0.png').read_bytes())
    try:
        assert not {n for n in names(before) & names(expand()) if not n.startswith('leaderboard')}
    finally:
        extra.unlink()
    original = teacher.read_bytes()
    teacher.write_bytes(original + b'x')
    try:
        found = changed(before, expand())
    finally:
        teacher.write_bytes(original)
    assert {name.split()[0] for name in found} == {'tokens', 'pretrain', 'finetune', 'pictures'}
    assert not any('scratch' in name for name in found)


def test_a_random_teacher_is_made_by_a_job(expand):
    plan = expand(lambda c: c['teachers'].update(random={'convert': 'random-vit-s14'}))
    (job,) = (job for job in plan.jobs if job.kind == 'teacher')
    assert job.command[2] == 'random-vit-s14'
    assert job.command[-1] == job.product and job.product.endswith('/random-vit-s14.safetensors')


MAE = 'configs/pretraining/mae_vit-micro-p16_1xb64-coslr-100e_cutoutscenes.py'
CNN = 'configs/classification/resnet18_1xb32-coslr_cutoutscenes.py'


def test_a_trained_teacher_is_made_of_each_folds_scenes_and_converted(expand):
    def change(content, epochs=3):
        content['data'] |= {'folds': [0, 1], 'train': 10, 'unlabeled': 40}
        content['seeds'] = [4, 5]
        content['teachers'] = {'own': {'train': {'config': MAE, 'epochs': epochs}, 'options': {'teacher_layer': 6}}}
        content['pretraining']['hgkd']['teachers'] = ['own']

    plan = expand(change)
    jobs = {job.name: job for job in plan.jobs}
    made = [job for job in plan.jobs if job.kind == 'teacher']
    assert [job.title for job in made] == [
        f'teacher {what}' for fold in (0, 1) for what in (f'own-training-fold{fold}-seed4', f'own-fold{fold}')
    ]
    for training, converted in zip(made[::2], made[1::2], strict=True):
        (data,) = training.needs
        assert f'data_root=work/{data}' in ' '.join(training.command).replace(plan.work_dir, 'work')
        assert training.product.endswith('/epoch_3.pth') and training.epochs == 3 and 'max_epochs=3' in training.command
        assert training.work == 8 + 0.02 * 40 * 3  # of the unlabelled scenes
        assert converted.needs == (training.name,) and converted.command[2] == training.product
        assert converted.product.endswith('/own.safetensors')
        users = [job for job in plan.jobs if converted.name in job.needs]
        assert {job.kind for job in users} == {'tokens', 'pretrain'}
        assert all(f'teacher_weights={converted.product}' in job.command for job in users)
        assert all('teacher_layer=6' in job.command for job in users)
    longer = expand(lambda c: change(c, epochs=4))
    lost = names(plan) - names(longer)
    assert {jobs[name].kind for name in lost} >= {'teacher', 'tokens', 'pretrain', 'finetune'}
    assert not any(jobs[name].kind == 'data' or '-scratch-' in name for name in lost)


def test_a_teacher_of_labels_is_trained_on_the_labelled_scenes(expand):
    def change(content):
        content['data'] |= {'train': 10, 'unlabeled': 40}
        content['teachers']['own'] = {'train': {'config': CNN, 'images': 30, 'seconds_per_image': 0.01}}
        content['pretraining']['hgkd']['teachers'] = ['own']

    training = next(job for job in expand(change).jobs if 'own-training' in job.name)
    assert training.epochs == 3 and training.work == pytest.approx(8 + 0.01 * 10 * 3)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (
            lambda c: c['teachers'].update(random={'train': {'config': 'configs/{student}.py', 'epochs': 1}}),
            ConfigError,
            r'a teacher is trained without a \{student\}',
        ),
        (
            lambda c: c['tasks']['segmentation'].update(config='configs/no.py'),
            ConfigError,
            'configs/no.py does not exist',
        ),
        (lambda c: c['tasks']['segmentation'].update(config='configs/{model}.py'), ConfigError, r'only \{student\}'),
        (
            lambda c: c['tasks']['segmentation'].update(options={'widht': 1}),
            ConfigError,
            "no 'widht'; did you mean width",
        ),
        (lambda c: c['teachers']['random'].update(weights='no.safetensors'), WeightsError, 'no.safetensors does not'),
        (lambda c: c['teachers'].update(random={'convert': 'img'}), ConfigError, 'teachers.random.convert'),
        (lambda c: c['data'].update(source='nowhere'), ConfigError, 'nowhere does not exist'),
    ],
)
def test_what_cannot_run_is_refused_before_anything_does(expand, change, error, message):
    with pytest.raises(error, match=message):
        expand(change)


def test_a_teacher_that_is_asked_live_has_no_cache(expand):
    def live(content):
        content['pretraining']['hgkd'].setdefault('options', {})['token_cache'] = None

    before, after = expand(), expand(live)
    assert {job.kind for job in before.jobs} - {job.kind for job in after.jobs} == {'tokens'}
    (training,) = (job for job in after.jobs if job.kind == 'pretrain' and 'hgkd' in job.title)
    assert training.name not in names(before)
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    options = training.command[training.command.index('--cfg-options') :]
    cfg = load_config(training.command[2], parser.parse_args(options).cfg_options)
    assert cfg.custom_hooks[0].type == 'TeacherHook' and cfg.custom_hooks[0].cache_dir is None
