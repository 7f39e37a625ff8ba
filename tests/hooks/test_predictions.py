import json

import pytest
import torch
from mmpretrain.structures import DataSample

from hgkd_mm.errors import DataError
from hgkd_mm.hooks.predictions import PredictionCollector, main_identities
from hgkd_mm.statistics.predictions import read_predictions


def sample(path, label, predicted):
    made = DataSample(metainfo=dict(img_path=str(path)))
    made.set_gt_label(label).set_pred_label(predicted)
    return made


def scenes(root):
    """Two scenes of CutoutScenes; the first annotation of each is its main object."""
    things = [(1, 'sparrow'), (0, 'robin'), (1, 'car'), (0, 'cup')]
    content = dict(
        images=[dict(id=0, file_name='000000.png'), dict(id=1, file_name='000001.png')],
        annotations=[dict(image_id=image, identity=name) for image, name in things],
    )
    (root / 'instances_val.json').write_text(json.dumps(content))


def test_identity_is_that_of_the_main_object(tmp_path):
    scenes(tmp_path)
    collector = PredictionCollector()
    folder = tmp_path / 'classification/val/bird'
    collector.add([sample(folder / '000001.png', 0, 4), sample(folder / '000000.png', 0, 0)])
    collector.write(tmp_path / 'run/predictions.csv', tmp_path)
    assert read_predictions(tmp_path / 'run/predictions.csv') == [
        ('classification/val/bird/000000.png', 'bird/robin', 0, 0),
        ('classification/val/bird/000001.png', 'bird/sparrow', 0, 4),
    ]


def test_elsewhere_every_image_is_its_own_identity(tmp_path):
    collector = PredictionCollector()
    collector.add([sample(tmp_path / 'val/n01/a.jpg', 0, 4)])
    collector.add([sample(tmp_path / 'val/n02/b.jpg', 1, 1), sample(tmp_path / 'val/n01/a.jpg', 0, 4)])  # padding
    collector.write(tmp_path / 'predictions.csv', None)
    assert read_predictions(tmp_path / 'predictions.csv') == [
        ('n01/a.jpg', 'n01/a.jpg', 0, 4),
        ('n02/b.jpg',) * 2 + (1, 1),
    ]


def test_outputs_without_classes_make_no_file(tmp_path):
    collector = PredictionCollector()
    collector.add([torch.zeros(1)])
    collector.add(None)
    collector.add([DataSample(metainfo=dict(img_path='a.png')), sample('b.png', [0, 1], 1)])
    collector.write(tmp_path / 'predictions.csv', None)
    assert not (tmp_path / 'predictions.csv').exists()


def test_annotations_without_identities_or_of_another_kind(tmp_path):
    path = tmp_path / 'instances_val.json'
    assert main_identities(path) == {}
    path.write_text(json.dumps(dict(images=[], annotations=[dict(image_id=3)])))
    assert main_identities(path) == {}
    for text in ('{', '[]', '{"images": [], "annotations": [{"image_id": 3, "identity": "x"}]}'):
        path.write_text(text)
        with pytest.raises(DataError, match=f'{path}: not COCO annotations'):
            main_identities(path)
