"""The exported backbone is a plain file which stock detectors and segmentors load completely."""

import json
import subprocess
import sys
import textwrap

import pytest
import torch
from mmengine.config import ConfigDict
from mmpretrain.models import ResNet

from hgkd_mm.errors import ConfigError, WeightsError
from hgkd_mm.transfer import apply_pretrained, export_backbone, load_checkpoint_file, save_backbone
from hgkd_mm.transfer.export import read_literals

CONFIG = """
custom_hooks = [dict(type='hgkd_mm.TeacherHook', teacher=dict(name='vit', layer=9))]
model = dict(backbone=dict(depth=18, type='ResNet'), type='hgkd_mm.HGKD')
train_dataloader = dict(dataset=dict(pipeline=[dict(mask_ratio=0.6, type='RandomPatchMask')]))
evil = __import__('os').getcwd()
"""


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp('export')
    torch.manual_seed(1)
    weights = ResNet(depth=18).state_dict()
    weights = {k: torch.rand(v.shape).to(v.dtype) + 1 for k, v in weights.items()}
    model = {f'backbone.{k}': v for k, v in weights.items()} | {'neck.mask_token': torch.ones(3)}
    meta = {'cfg': CONFIG, 'epoch': 20, 'iter': 400, 'seed': 0, 'experiment_name': 'demo'}
    torch.save({'state_dict': model, 'meta': meta, 'optimizer': {}}, folder / 'epoch_20.pth')
    export_backbone(folder / 'epoch_20.pth', folder / 'backbone.pth')
    return folder / 'backbone.pth', weights


def test_export_has_plain_keys_and_says_where_it_comes_from(exported):
    path, weights = exported
    loaded = torch.load(path, weights_only=True)
    assert loaded['state_dict'].keys() == weights.keys()
    assert all(torch.equal(v, weights[k]) for k, v in loaded['state_dict'].items())
    meta = loaded['meta']
    assert meta['method'] == 'hgkd_mm.HGKD'
    assert meta['backbone'] == {'depth': 18, 'type': 'ResNet'}
    assert meta['teacher'] == {'name': 'vit', 'layer': 9}
    assert (meta['mask_ratio'], meta['epochs'], meta['seed']) == (0.6, 20, 0)
    assert meta['source']['file'] == 'epoch_20.pth' and len(meta['source']['sha256']) == 64


STOCK = """
import json, logging, sys, torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from mmengine.utils import get_installed_path

path, package, config = sys.argv[1:]
cfg = Config.fromfile(get_installed_path(package) + '/.mim/configs/' + config)
cfg.model.backbone.update(
    type='ResNet', depth=18, init_cfg=dict(type='Pretrained', checkpoint=path),
    norm_cfg=dict(type='BN'))
cfg.model.pretrained = None
channels = [64, 128, 256, 512]
if package == 'mmdet':
    cfg.model.pop('pretrained')
    cfg.model.neck.in_channels = channels
else:
    cfg.model.decode_head.in_channels = channels
    cfg.model.auxiliary_head.in_channels = channels[2]
messages = []
class Keep(logging.Handler):
    def emit(self, record):
        messages.append(record.getMessage())
logger = MMLogger.get_instance('test')
logger.addHandler(Keep())
init_default_scope(package)
model = MODELS.build(cfg.model)
model.init_weights()
assert 'hgkd_mm' not in sys.modules
expected = torch.load(path, weights_only=True)['state_dict']
own = model.backbone.state_dict()
text = '\\n'.join(messages)
print(json.dumps(dict(
    missing=sorted(own.keys() - expected.keys()),
    unexpected=sorted(expected.keys() - own.keys()),
    different=[k for k in own if k in expected and not torch.equal(own[k], expected[k])],
    complained='do not match' in text,
    loaded='Loads checkpoint' in text,
    backbone=type(model.backbone).__module__)))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ('package', 'config'),
    [
        ('mmdet', 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'),
        ('mmseg', 'upernet/upernet_r50_4xb4-160k_ade20k-512x512.py'),
    ],
)
def test_stock_framework_loads_the_export_with_no_key_left(exported, tmp_path, package, config):
    path, _ = exported
    script = tmp_path / 'stock.py'
    script.write_text(textwrap.dedent(STOCK))
    command = [sys.executable, str(script), str(path), package, config]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result == dict(
        missing=[],
        unexpected=[],
        different=[],
        complained=False,
        loaded=True,
        backbone=f'{package}.models.backbones.resnet',
    )


def test_checkpoint_without_backbone_is_refused(tmp_path):
    torch.save({'state_dict': {'head.weight': torch.ones(1)}}, tmp_path / 'x.pth')
    with pytest.raises(WeightsError, match='x.pth has no key which begins with .backbone'):
        export_backbone(tmp_path / 'x.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


def test_meta_of_library_types_is_saved_as_plain_data(tmp_path):
    meta = {'backbone': ConfigDict(type='ResNet', stages=(1, 2))}
    save_backbone(tmp_path / 'b.pth', {'w': torch.ones(1)}, meta)
    assert load_checkpoint_file(tmp_path / 'b.pth')['meta']['backbone'] == {
        'type': 'ResNet',
        'stages': [1, 2],
    }
    with pytest.raises(WeightsError, match='not plain data'):
        save_backbone(tmp_path / 'c.pth', {'w': torch.ones(1)}, {'x': object()})


def test_config_text_is_read_but_not_executed():
    values = read_literals(CONFIG + "open_it = open('/nonexistent')\nlr = -0.5\n")
    assert values['lr'] == -0.5
    assert 'evil' not in values and 'open_it' not in values
    assert read_literals('not python (') == {}


def test_pretrained_reaches_the_backbone(exported):
    cfg = ConfigDict(pretrained=str(exported[0]), model=dict(backbone=dict(init_cfg=None)))
    apply_pretrained(cfg)
    assert cfg.model.backbone.init_cfg == dict(type='hgkd_mm.StrictPretrained', checkpoint=str(exported[0]))
    scratch = ConfigDict(pretrained=None, model=dict(backbone=dict(init_cfg='own')))
    apply_pretrained(scratch)
    assert scratch.model.backbone.init_cfg == 'own'


def test_missing_pretrained_file_or_backbone_is_named(tmp_path):
    cfg = ConfigDict(pretrained='nowhere/backbone.pth', model=dict(backbone=dict()))
    with pytest.raises(WeightsError, match='pretrained=nowhere/backbone.pth: no such file'):
        apply_pretrained(cfg)
    with pytest.raises(ConfigError, match='no model.backbone'):
        apply_pretrained(ConfigDict(pretrained='x.pth', model=dict()))
