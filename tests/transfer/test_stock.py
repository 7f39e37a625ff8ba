"""A distilled backbone loads into stock frameworks with no key left, in processes that never import this package."""

import json
import subprocess
import sys

import pytest

from hgkd_mm.engine import load_config

STUDENTS = ('resnet18', 'resnet50', 'convnext-tiny')

DETECTORS = [
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
]
SEGMENTORS = [
    'upernet/upernet_r50_4xb4-160k_ade20k-512x512.py',
    'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512.py',
]

# Arguments: package, its configs (JSON), students (JSON: name -> file, config of the backbone, channels of its stages).
STOCK = """
import json, logging, sys, torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from mmengine.utils import get_installed_path
import mmpretrain.models

package, configs, students = sys.argv[1], *map(json.loads, sys.argv[2:])
messages = []
class Keep(logging.Handler):
    def emit(self, record):
        messages.append(record.getMessage())
MMLogger.get_instance('test').addHandler(Keep())
init_default_scope(package)
results = {}
for name, (path, backbone, channels) in students.items():
    expected = torch.load(path, weights_only=True)['state_dict']
    for config in configs:
        model = Config.fromfile(get_installed_path(package) + '/.mim/configs/' + config).model
        own = backbone['type'].split('.')[-1] == 'ResNet'
        model.backbone = dict(
            {**backbone, 'type': 'ResNet', 'norm_cfg': dict(type='BN')} if own else backbone,
            init_cfg=dict(type='Pretrained', checkpoint=path))
        if package == 'mmdet':
            model.neck.in_channels = channels
        else:
            model.pretrained = None
            model.decode_head.in_channels = channels[-1] if 'deeplab' in config else channels
            if 'deeplab' in config:
                model.decode_head.c1_in_channels = channels[0]
            model.auxiliary_head.in_channels = channels[2]
        messages.clear()
        built = MODELS.build(model)
        built.init_weights()
        found = built.backbone.state_dict()
        text = '\\n'.join(messages)
        results[f'{name} {config}'] = dict(
            missing=sorted(found.keys() - expected.keys()),
            unexpected=sorted(expected.keys() - found.keys()),
            different=[k for k in found if k in expected and not torch.equal(found[k], expected[k])],
            complained='do not match' in text,
            loaded='Loads checkpoint' in text)
assert 'hgkd_mm' not in sys.modules
print(json.dumps(results))
"""

COMPLETE = dict(missing=[], unexpected=[], different=[], complained=False, loaded=True)


@pytest.fixture(scope='module')
def students(tmp_path_factory, request, pretrain) -> dict:
    """File, backbone config and stage channels of each student, distilled for one iteration at full size."""
    folder, found = tmp_path_factory.mktemp('students'), {}
    for name in STUDENTS:
        path = str(request.config.rootpath / f'configs/pretraining/hgkd_{name}_8xb256-amp-coslr-300e_in1k.py')
        pretrain(path, folder / name)
        cfg = load_config(path)
        found[name] = (str(folder / name / 'backbone.pth'), cfg.student.to_dict(), cfg.stage_channels)
    return found


def in_stock_process(script: str, *arguments: str, cwd) -> dict:
    done = subprocess.run([sys.executable, '-c', script, *arguments], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(('package', 'configs'), [('mmdet', DETECTORS), ('mmseg', SEGMENTORS)])
def test_stock_detectors_and_segmentors_load_every_key(students, tmp_path, package, configs):
    results = in_stock_process(STOCK, package, json.dumps(configs), json.dumps(students), cwd=tmp_path)
    assert results == {f'{name} {config}': COMPLETE for name in STUDENTS for config in configs}


# ResNets have the same keys in mmpretrain, torchvision and timm, and must compute the same.
PLAIN = """
import json, sys, torch
from mmengine.registry import init_default_scope
from mmpretrain.models import build_backbone

library, students = sys.argv[1], json.loads(sys.argv[2])
results = {}
for name in ('resnet18', 'resnet50'):
    path, backbone, _ = students[name]
    weights = torch.load(path, weights_only=True)['state_dict']
    ours = build_backbone(dict(backbone, type='ResNet'))
    ours.eval()  # returns None
    ours.load_state_dict(weights)
    if library == 'torchvision':
        import torchvision
        other = torchvision.models.get_model(name).eval()
    else:
        import timm
        other = timm.create_model(name).eval()
    keys = other.load_state_dict(weights, strict=False)
    other.fc = torch.nn.Identity()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = ours(images)[-1].mean((2, 3))
        error = (other(images) - expected).abs().max() / expected.abs().max()
    results[name] = dict(missing=keys.missing_keys, unexpected=keys.unexpected_keys, error=error.item())
assert 'hgkd_mm' not in sys.modules
print(json.dumps(results))
"""


@pytest.mark.slow
@pytest.mark.parametrize('library', ['torchvision', 'timm'])
def test_resnets_load_into_plain_libraries_and_compute_the_same(students, tmp_path, library):
    pytest.importorskip(library)
    results = in_stock_process(PLAIN, library, json.dumps(students), cwd=tmp_path)
    for found in results.values():
        assert found['missing'] == ['fc.weight', 'fc.bias'] and found['unexpected'] == []
        assert found['error'] < 1e-5
