import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmpretrain.datasets import CustomDataset
from PIL import Image, features
from pycocotools.coco import COCO

from hgkd_mm.datasets.cutoutscenes import prepare, prepare_cutoutscenes
from hgkd_mm.engine.config import check_data, load_config
from hgkd_mm.errors import ConfigError, DataError
from hgkd_mm.hooks.result_hook import dataset_facts
from hgkd_mm.utils import sha256_json

CONFIG = Path(__file__).parents[3] / 'configs/classification/resnet18_1xb32-coslr_cutoutscenes.py'
SMALL = dict(size=64, train=18, val=9, unlabeled=5, workers=1)


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope='module')
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('data') / 'set'
    return prepare_cutoutscenes(out, source=source, say=quiet, **SMALL)


def hashes(root: Path) -> dict[str, str]:
    manifest = json.loads((root / 'manifest.json').read_text())
    return {split: facts['sha256'][:16] for split, facts in manifest['splits'].items()}


def test_content_is_the_same_on_every_machine(made):
    assert hashes(made) == HASHES


HASHES = {'train': '86c0a6f9d876d85d', 'val': '20bde127aada7f78', 'unlabeled': '17675eec219966c4'}


def test_results_know_the_number_of_images(made):
    dataset = dict(data_root=str(made / 'classification'))
    facts = dataset_facts(Config(dict(val_dataloader=dict(dataset=dataset))))
    assert (facts['version'], facts['fold'], facts['num_train'], facts['num_val']) == (prepare.VERSION, 0, 18, 9)


def test_number_of_processes_does_not_change_the_content(made, source, tmp_path):
    prepare_cutoutscenes(tmp_path / 'x', source=source, say=quiet, **{**SMALL, 'workers': 3})
    assert hashes(tmp_path / 'x') == hashes(made)


def test_a_scene_does_not_depend_on_how_many_are_made(made, source, tmp_path):
    fewer = {**SMALL, 'train': 4, 'val': 0, 'unlabeled': 0}
    prepare_cutoutscenes(tmp_path / 'x', source=source, say=quiet, **fewer)
    for file in sorted((tmp_path / 'x/images/train').iterdir()):
        assert file.read_bytes() == (made / 'images/train' / file.name).read_bytes()


@pytest.mark.parametrize('option', [dict(seed=1), dict(fold=1)])
def test_seed_and_fold_change_the_content(made, source, tmp_path, option):
    prepare_cutoutscenes(tmp_path / 'x', source=source, say=quiet, **SMALL, **option)
    assert all(hashes(tmp_path / 'x')[split] != value for split, value in hashes(made).items())


def test_the_three_layouts_agree(made):
    for split, count in (('train', 18), ('val', 9)):
        coco = COCO(str(made / f'instances_{split}.json'))
        classes = [category['name'] for category in coco.loadCats(coco.getCatIds())]
        assert classes == ['diamond', 'disc', 'square'] and coco.getCatIds() == [1, 2, 3]
        assert len(coco.getImgIds()) == count
        for entry in coco.loadImgs(coco.getImgIds()):
            name = entry['file_name']
            image = Image.open(made / 'images' / split / name)
            assert (image.mode, image.size) == ('RGB', (64, 64))
            labels = np.zeros((64, 64), np.uint8)
            things = coco.loadAnns(coco.getAnnIds(entry['id']))
            for thing in things:
                mask = coco.annToMask(thing) > 0
                assert not labels[mask].any()
                labels[mask] = thing['category_id']
                ys, xs = np.nonzero(mask)
                x, y, w, h = thing['bbox']
                assert (x, y) == (xs.min(), ys.min())
                assert (x + w, y + h) == (xs.max() + 1, ys.max() + 1)
                assert thing['area'] == mask.sum()
            assert (np.asarray(Image.open(made / 'annotations' / split / name)) == labels).all()
            main = classes[things[0]['category_id'] - 1]
            found = list((made / 'classification' / split).glob(f'*/{name}'))
            assert [file.parent.name for file in found] == [main]
            assert found[0].samefile(made / 'images' / split / name)
    assert len(list((made / 'unlabeled').iterdir())) == 5


def test_nothing_leaks_from_validation_to_training(made):
    seen = {}
    for split in ('train', 'val'):
        coco = json.loads((made / f'instances_{split}.json').read_text())
        seen[split] = {thing['identity'] for thing in coco['annotations']}
        seen[split] |= {image['background'] for image in coco['images']}
    assert seen['train'] and seen['val'] and not seen['train'] & seen['val']


def test_unlabeled_scenes_are_from_the_training_side(source):
    material = prepare.folder_material(source, 64)
    sides = {split: prepare.Sampler(material, split, 2, 0, 64) for split in ('train', 'val', 'unlabeled')}
    assert sides['unlabeled'].identities == sides['train'].identities
    assert sides['unlabeled'].backgrounds == sides['train'].backgrounds
    assert not set(sides['unlabeled'].backgrounds) & set(sides['val'].backgrounds)


def test_classes_and_identities_are_balanced(source):
    sampler = prepare.Sampler(prepare.folder_material(source, 64), 'train', 0, 0, 64)
    mains = Counter(sampler.main(index) for index in range(90))
    assert set(Counter(name for name, _ in mains).values()) <= {4, 5}  # of 6 identities
    for name in sampler.classes:
        counts = [count for (category, _), count in mains.items() if category == name]
        assert sum(counts) == 30 and max(counts) - min(counts) <= 1
    assert len({sampler.background(index) for index in range(len(sampler.backgrounds))}) == len(sampler.backgrounds)


def share(root: Path, percent: int) -> list[str]:
    return (root / f'classification/meta/train_{percent}percent.txt').read_text().splitlines()


def test_a_share_of_the_labels_is_the_same_of_each_class_and_part_of_a_larger_one(made, source, tmp_path):
    few, more = share(made, 10), share(made, 25)
    assert few == ['diamond/000012.png 0', 'disc/000016.png 1', 'square/000008.png 2']  # of 6 each, on every machine
    assert set(few) < set(more)
    assert Counter(line.split('/')[0] for line in more) == dict.fromkeys(('diamond', 'disc', 'square'), 2)
    whole = CustomDataset(data_root=str(made), data_prefix='classification/train')
    labels = {Path(item['img_path']).name: item['gt_label'] for item in map(whole.get_data_info, range(len(whole)))}
    for line in more:
        path, label = line.split()
        assert labels[Path(path).name] == int(label)
    again = prepare_cutoutscenes(tmp_path / 'x', source=source, say=quiet, **{**SMALL, 'val': 3, 'unlabeled': 0})
    assert (share(again, 10), share(again, 25)) == (few, more)


def test_lists_that_a_data_set_lacks_are_named_and_added_by_the_command_that_made_it(made, source, tmp_path):
    out = tmp_path / 'set'
    shutil.copytree(made, out)
    shutil.rmtree(out / 'classification/meta')
    cfg = load_config(CONFIG, {'data_root': str(out), 'label_share': 0.1})
    with pytest.raises(DataError) as error:
        check_data(cfg, ['train_dataloader'])
    assert f'{out}/classification/meta/train_10percent.txt does not exist' in str(error.value)
    command = str(error.value).partition('python tools/prepare_data.py cutoutscenes ')[2]
    numbers = '--fold 0 --seed 0 --size 64 --train 18 --val 9 --unlabeled 5'
    assert command == f'--out {out} {numbers} --source DIR/{source.name}'
    before = (out / 'manifest.json').stat().st_mtime_ns
    prepare_cutoutscenes(out, source=source, say=quiet, **SMALL)
    check_data(cfg, ['train_dataloader'])
    assert (share(out, 10), share(out, 25)) == (share(made, 10), share(made, 25))
    assert (out / 'manifest.json').stat().st_mtime_ns == before


def test_a_share_of_the_labels_is_another_data_set_in_records(made):
    facts = {}
    for part in (1.0, 0.25, 0.1):
        cfg = load_config(CONFIG, {'data_root': str(made), 'label_share': part})
        facts[part] = {**cfg.custom_hooks[-1].dataset, **dataset_facts(cfg)}
    assert [(found['name'], found['num_train']) for found in facts.values()] == [
        ('CutoutScenes', 18),
        ('CutoutScenes, 25 % of the labels', 6),
        ('CutoutScenes, 10 % of the labels', 3),
    ]
    assert len({found['sha256'] for found in facts.values()}) == 3
    splits = json.loads((made / 'manifest.json').read_text())['splits']
    assert facts[1.0]['sha256'] == sha256_json({name: splits[name]['sha256'] for name in ('train', 'val')})


def test_the_manifest_names_the_decoder_which_the_pins_keep_alike(made):
    decoder = json.loads((made / 'manifest.json').read_text())['decoder']
    assert decoder == f'libjpeg-turbo {features.version("libjpeg_turbo")}'
    for lock in ('lock.txt', 'openmmlab/lock.txt'):
        assert re.findall(r'^pillow.*$', (Path(__file__).parents[3] / 'requirements' / lock).read_text(), re.M) == [
            'pillow==12.3.0'
        ]


def test_a_finished_data_set_is_left_alone(made, source):
    before, said = (made / 'manifest.json').stat().st_mtime_ns, []
    prepare_cutoutscenes(made, source=source, say=said.append, **SMALL)
    assert said == [f'{made}: already there']
    assert (made / 'manifest.json').stat().st_mtime_ns == before


def test_other_options_are_refused_by_name_unless_forced(made, source, tmp_path):
    out = tmp_path / 'set'
    shutil.copytree(made, out)
    other = {**SMALL, 'val': 3, 'unlabeled': 0}
    with pytest.raises(DataError, match=r'val is 9, not 3; unlabeled is 5, not 0.*--force'):
        prepare_cutoutscenes(out, source=source, say=quiet, **other)
    prepare_cutoutscenes(out, source=source, say=quiet, force=True, **other)
    assert len(list((out / 'images/val').iterdir())) == 3
    assert [file.name for file in tmp_path.iterdir()] == ['set']


def test_a_folder_that_is_no_data_set_is_never_touched(source, tmp_path):
    (tmp_path / 'thesis.txt').write_text('x')
    with pytest.raises(DataError, match='is no CutoutScenes data set'):
        prepare_cutoutscenes(tmp_path, source=source, force=True, say=quiet, **SMALL)
    assert (tmp_path / 'thesis.txt').read_text() == 'x'


def test_a_full_disk_leaves_nothing_behind(source, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(prepare, 'write_unlabeled', refuse)
    with pytest.raises(DataError, match='disk is full'):
        prepare_cutoutscenes(tmp_path / 'x', source=source, say=quiet, **SMALL)
    assert not list(tmp_path.iterdir())


def test_too_little_space_is_noticed_before_work_begins(source, tmp_path):
    huge = {**SMALL, 'size': 1024, 'train': 1_000_000, 'unlabeled': 1_000_000}
    with pytest.raises(DataError, match='MiB free, the data set needs up to'):
        prepare_cutoutscenes(tmp_path / 'x', source=source, say=quiet, **huge)


@pytest.mark.parametrize('option', [dict(fold=5), dict(size=20), dict(seed=-1), dict(train=-1)])
def test_options_out_of_range_are_named(tmp_path, option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        prepare_cutoutscenes(tmp_path / 'x', say=quiet, **option)


def test_bad_source_folders_are_explained(source, tmp_path):
    def attempt(folder: Path) -> None:
        prepare_cutoutscenes(tmp_path / 'out', source=folder, say=quiet, **SMALL)

    with pytest.raises(DataError, match=r'cutouts: no such folder'):
        attempt(tmp_path / 'nowhere')
    one_class = tmp_path / 'one'
    shutil.copytree(source, one_class)
    for name in ('disc', 'square'):
        shutil.rmtree(one_class / 'cutouts' / name)
    with pytest.raises(DataError, match='1 class folders, expected 2'):
        attempt(one_class)
    few = tmp_path / 'few'
    shutil.copytree(source, few)
    for file in (few / 'cutouts/disc').glob('disc[0-2].png'):
        file.unlink()
    with pytest.raises(DataError, match='disc: 3 different pictures or objects, need 5'):
        attempt(few)
    opaque = tmp_path / 'opaque'
    shutil.copytree(source, opaque)
    Image.new('RGB', (50, 50)).save(opaque / 'cutouts/disc/photo.png')
    with pytest.raises(DataError, match=r'photo\.png: .*alpha channel'):
        attempt(opaque)
    (opaque / 'cutouts/disc/photo.png').write_bytes(b'not an image')
    with pytest.raises(DataError, match=r'photo\.png: not a usable picture'):
        attempt(opaque)


def test_contact_sheet_and_credits_lie_beside_the_data(made, source):
    assert Image.open(made / 'contact_sheet.png').width > 1000
    assert source.name in (made / 'CREDITS.md').read_text()


@pytest.mark.slow
def test_the_benchmark_from_debian_packages(tmp_path):
    out = prepare_cutoutscenes(tmp_path / 'x', train=22, val=22, unlabeled=16, say=quiet)
    manifest = json.loads((out / 'manifest.json').read_text())
    assert len(manifest['classes']) == 11
    assert all(n >= 3 for n in manifest['splits']['val']['identities'].values())
    assert set(manifest['splits']['val']['main_objects'].values()) == {2}
    assert hashes(out) == DEBIAN_HASHES


DEBIAN_HASHES = {
    'train': '97a0db134c25c63d',
    'val': '6f22b2a108a4e484',
    'unlabeled': '39939a752ae35dd4',
}
