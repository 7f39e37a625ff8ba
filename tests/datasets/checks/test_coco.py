"""Every fault of COCO-format data is named; nothing is changed."""

import json

import pytest

from hgkd_mm.datasets.checks import check_annotation_file, check_coco
from hgkd_mm.datasets.checks.report import write_manifest
from hgkd_mm.errors import DataError
from hgkd_mm.utils import sha256_file


def annotations(root, change):
    path = root / 'annotations' / 'instances_train2017.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_sound_data_give_counts_and_classes(coco):
    manifest = check_coco(coco, own=True)
    assert manifest['classes'] == ['cat']
    assert {n: (s['images'], s['objects']) for n, s in manifest['splits'].items()} == {'train': (2, 2), 'val': (2, 2)}


def test_official_counts_are_expected_of_coco(coco):
    with pytest.raises(DataError, match=r'images of instances_train2017.json: 2 found, 118,287 expected'):
        check_coco(coco)


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda c: c['images'][0].pop('width'), 'an entry of images has no width'),
        (lambda c: c.pop('categories'), r"is no COCO annotation file \(KeyError: 'categories'\)"),
        (lambda c: c['images'].append(dict(c['images'][0])), 'image ids that occur twice: 0'),
        (lambda c: c['annotations'].append(dict(c['annotations'][1])), 'annotation ids that occur twice: 1'),
        (lambda c: c['annotations'][1].pop('id'), 'an entry of annotations has no id'),
        (
            lambda c: c['annotations'][1].update(segmentation={'size': [20, 30], 'counts': [600]}),
            r'instances_train2017.json: masks that do not fit their image: 1 is 30x20, its image 24x16',
        ),
        (
            lambda c: c['annotations'][1].update(segmentation=[[1, 2, 3]]),
            'masks that do not fit their image: 1 has a polygon of 3 numbers',
        ),
        (
            lambda c: c['annotations'].extend(
                dict(c['annotations'][0], id=i, segmentation=[[1, 1, 40, 1, 8, 8]]) for i in range(2, 6)
            ),
            r'polygons outside their image: 2, 3, 4, ... \(4 in all\)',
        ),
        (lambda c: c['annotations'][1].update(image_id=9), 'annotations of images which are not listed: 1'),
        (lambda c: c['annotations'][1].update(category_id=9), 'annotations of categories which are not listed: 1'),
        (lambda c: c['images'][1].update(file_name='no.jpg'), 'images which train2017 does not have: no.jpg'),
        (lambda c: c['images'][1].update(width=99), 'with another size than the annotations say: 1.jpg is 24x16'),
        (lambda c: c['categories'][0].update(name='dog'), 'the categories of the two splits differ: cat, dog'),
        (
            lambda c: c['annotations'].extend(
                {'id': i, 'image_id': 0, 'category_id': 1, 'bbox': [20, 1, 8, 8]} for i in range(2, 9)
            ),
            r'boxes that are empty or outside their image: 2, 3, 4, ... \(7 in all\)',
        ),
    ],
)
def test_each_fault_of_the_annotations_is_named_and_nothing_is_changed(coco, content_of, damage, message):
    annotations(coco, damage)
    before = content_of(coco)
    with pytest.raises(DataError, match=message):
        check_coco(coco, own=True)
    assert content_of(coco) == before


def test_missing_and_broken_files_are_named(coco):
    (coco / 'annotations' / 'instances_val2017.json').write_text('{')
    (coco / 'train2017' / '0.jpg').write_bytes(b'no image')
    with pytest.raises(DataError) as error:
        check_coco(coco, own=True)
    assert 'instances_val2017.json is no COCO annotation file' in str(error.value)
    assert 'unreadable images: train2017/0.jpg' in str(error.value)
    (coco / 'annotations' / 'instances_val2017.json').unlink()
    with pytest.raises(DataError, match='file annotations/instances_val2017.json is missing: instances_train2017.json'):
        check_coco(coco, own=True)


def test_a_file_is_checked_before_training_unless_its_manifest_says_that_it_was(coco):
    path = coco / 'annotations' / 'instances_train2017.json'
    write_manifest(coco / 'manifest.json', check_coco(coco, own=True))
    check_annotation_file(path)
    before = path.read_bytes()
    annotations(coco, lambda c: c['annotations'].append(dict(c['annotations'][1])))
    with pytest.raises(DataError, match=r'annotations: 1 problem.*\n- instances_train2017.json: annotation ids.*: 1'):
        check_annotation_file(path)
    manifest = json.loads((coco / 'manifest.json').read_text())
    manifest['splits']['train']['sha256'] = sha256_file(path)
    write_manifest(coco / 'manifest.json', manifest)
    check_annotation_file(path)
    path.write_bytes(before)
    check_annotation_file(path)
