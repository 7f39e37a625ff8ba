"""Options reach what is computed from them; each wrong name is named with the nearest right one."""

import json

import pytest
from mmengine.config import ConfigDict

from hgkd_mm.engine import check_data, load_config
from hgkd_mm.errors import ConfigError, DataError

BASE = 'schedule = dict(max_epochs=3)\nsteps = [dict(lr=1), dict(lr=2)]\n'
CHILD = """
_base_ = './base.py'
width = 32
root = f'data/{width}'
model = dict(channels=[width, 2 * width], backbone=dict(depth=18))
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)
    path = tmp_path / 'child.py'
    path.write_text(CHILD)
    return path


def test_changed_variable_changes_everything_computed_from_it(config):
    cfg = load_config(config, {'width': 64, 'schedule.max_epochs': 9})
    assert cfg.model.channels == [64, 128]
    assert (cfg.width, cfg.root, cfg.schedule.max_epochs) == (64, 'data/64', 9)
    assert cfg.filename == str(config)


def test_variable_of_a_base_changes_what_is_computed_from_it_there(config):
    heir = config.with_name('heir.py')
    heir.write_text("_base_ = ['child.py']\nchannels = [c + 1 for c in _base_.model.channels]\n")
    cfg = load_config(heir, {'width': 8})
    assert cfg.model.channels == [8, 16]
    assert cfg.channels == [9, 17]


def test_without_options_the_file_is_read_as_it_is(config):
    assert load_config(config).model.channels == [32, 64]


def test_dict_option_is_merged_and_new_argument_is_allowed(config):
    cfg = load_config(config, {'model.backbone.norm_eval': True, 'steps.1.lr': 5})
    assert cfg.model.backbone == dict(depth=18, norm_eval=True)
    assert cfg.steps[1].lr == 5


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('widht', r"widht: child.py has no 'widht'; did you mean width"),
        ('model.bakbone.depth', r"model has no 'bakbone'; did you mean backbone"),
        ('schedul.max_epochs', r'did you mean schedule'),
        ('steps.2.lr', r"steps has no '2'"),
        ('width.x', r"width has no 'x'"),
        ('zzz', r'it has model, root, schedule'),
    ],
)
def test_unknown_option_is_refused(config, key, message):
    with pytest.raises(ConfigError, match=message):
        load_config(config, {key: 1})


def test_option_of_the_runner_is_known(config):
    assert load_config(config, {'randomness.seed': 1}).randomness.seed == 1


def test_missing_config_suggests_its_neighbour(config):
    with pytest.raises(ConfigError, match=r'chil.py does not exist; did you mean \S*child.py'):
        load_config(config.with_name('chil.py'))


def test_broken_config_is_named(config):
    config.write_text('model = dict(')
    with pytest.raises(ConfigError, match='child.py cannot be read: SyntaxError'):
        load_config(config)


def loader(root='', **dataset) -> ConfigDict:
    return ConfigDict(loader=dict(dataset=dict(data_root=str(root), **dataset)))


def test_missing_data_root_is_named_with_the_remedy(tmp_path):
    with pytest.raises(DataError, match=r'loader.dataset.data_root: .*cutoutscenes does not exist. .*prepare_data'):
        check_data(loader(tmp_path / 'cutoutscenes'), ['loader'])


def test_missing_annotation_file_and_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r'loader.dataset.ann_file: .*a.json'):
        check_data(loader(tmp_path, ann_file='a.json'), ['loader'])
    with pytest.raises(DataError, match=r'loader.dataset.data_prefix.img: .*images'):
        check_data(loader(tmp_path, data_prefix=dict(img='images')), ['loader'])


def test_a_missing_list_of_a_share_of_the_labels_is_named_with_the_command_that_writes_it(tmp_path):
    with pytest.raises(DataError, match=rf'python tools/prepare_data.py imagenet --root {tmp_path} --subset 10$'):
        check_data(loader(tmp_path, ann_file='meta/train_10percent.txt'), ['loader'])


def test_wrapped_data_sets_are_checked(tmp_path):
    inner = dict(datasets=[dict(data_root=str(tmp_path)), dict(data_root='nowhere')])
    cfg = ConfigDict(loader=dict(dataset=dict(dataset=inner)))
    with pytest.raises(DataError, match=r'loader.dataset.dataset.datasets.1.data_root: nowhere'):
        check_data(cfg, ['loader'])


@pytest.mark.parametrize('kind', ['CocoDataset', 'mmdet.CocoDataset'])
def test_annotations_that_training_would_stumble_over_are_told_before_it(tmp_path, kind):
    image = {'id': 0, 'file_name': 'a.png', 'width': 24, 'height': 16}
    mask = {'size': [30, 20], 'counts': [600]}
    box = {'id': 7, 'image_id': 0, 'category_id': 1, 'bbox': [1, 1, 8, 8], 'segmentation': mask}
    content = {'images': [image], 'categories': [{'id': 1, 'name': 'cat'}], 'annotations': [box]}
    (tmp_path / 'a.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match=r'a.json: masks that do not fit their image: 7 is 20x30, its image 24x16'):
        check_data(loader(tmp_path, type=kind, ann_file='a.json'), ['loader'])
    box['segmentation'] = {'size': [16, 24], 'counts': [384]}
    (tmp_path / 'a.json').write_text(json.dumps(content))
    check_data(loader(tmp_path, type=kind, ann_file='a.json'), ['loader'])


def test_present_and_remote_data_pass(tmp_path):
    check_data(loader(tmp_path), ['loader', 'absent_loader'])
    check_data(loader('s3://bucket/data'), ['loader'])


def test_config_inherited_from_the_package_follows_a_variable(config):
    heir = config.with_name('heir.py')
    heir.write_text("_base_ = 'hgkd_mm::detection/retinanet_r18_fpn_1x_coco.py'\ntrain_cfg = dict(max_epochs=7)\n")
    cfg = load_config(heir, {'data_root': 'elsewhere/'})
    assert cfg.train_cfg.max_epochs == 7
    assert cfg.train_dataloader.dataset.data_root == 'elsewhere/'
    assert cfg.val_evaluator.ann_file == 'elsewhere//annotations/instances_val2017.json'
    # classes of mmdet are looked up in mmdet, as in the inherited config
    assert cfg.model._scope_ == 'mmdet' and '_scope_' not in cfg.custom_hooks[0]
