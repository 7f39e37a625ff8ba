"""A CNN teaches by the maps that the network it came from computes, and a wrong file is refused."""

import json

import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import ConvNeXt, MobileNetV2, ResNet
from safetensors.torch import load_file

from hgkd_mm.errors import ConfigError, WeightsError
from hgkd_mm.models import CNNTeacher, ViTTeacher
from hgkd_mm.models.teachers import random_vit
from hgkd_mm.models.teachers.convert import convert_file
from hgkd_mm.models.teachers.families import IMAGENET_MEAN, IMAGENET_STD, Hints

NETWORKS = {
    'ResNet': (ResNet, dict(depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='BN'))),
    'ConvNeXt': (ConvNeXt, dict(arch=dict(depths=[1, 1, 2, 1], channels=[8, 16, 24, 32]))),
    'MobileNetV2': (MobileNetV2, dict(widen_factor=0.25)),
}


def classifier(kind, **options):
    """Return a checkpoint of mmpretrain's classifier over a network of this kind, and the network."""
    build, settings = NETWORKS[kind]
    torch.manual_seed(0)
    network = build(**settings)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    network.eval()
    preprocessor = dict(mean=[1.0, 2.0, 3.0], std=[50.0, 60.0, 70.0], to_rgb=True, **options)
    model = dict(type='ImageClassifier', backbone=dict(type=kind, **settings), data_preprocessor=preprocessor)
    state = {f'backbone.{key}': value for key, value in network.state_dict().items()}
    meta = dict(cfg=Config(dict(model=model)).pretty_text, epoch=3)
    return {'state_dict': state | {'head.fc.weight': torch.zeros(2, 2)}, 'meta': meta}, network


def converted(tmp_path, kind='ResNet', **options):
    checkpoint, network = classifier(kind, **options)
    torch.save(checkpoint, tmp_path / 'epoch_3.pth')
    out = tmp_path / 'own-cnn.safetensors'
    info = convert_file(tmp_path / 'epoch_3.pth', out, say=lambda line: None)
    return out, network, info


@pytest.mark.parametrize('kind', NETWORKS)
def test_tokens_are_the_maps_of_the_network(tmp_path, kind):
    out, network, info = converted(tmp_path, kind)
    layers = [4, 7] if kind == 'MobileNetV2' else [4] if kind == 'ConvNeXt' else [3, 4]
    teacher = CNNTeacher(weights=str(out), layer=layers, img_size=64)
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    seen = images.flip(1).float()
    seen = (seen - torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)) / torch.tensor([50.0, 60.0, 70.0]).view(3, 1, 1)
    network.out_indices = [number - 1 for number in layers]
    if kind == 'ConvNeXt':
        network.gap_before_final_norm = False
    with torch.no_grad():
        expected = network(seen)
    found = teacher(images)
    assert [tuple(part.shape[1:]) for part in found] == teacher.token_shapes
    for part, map_ in zip(found, expected, strict=True):
        torch.testing.assert_close(part, map_)
    assert teacher.embed_dims == expected[-1].shape[1] and teacher.grid_size == tuple(expected[-1].shape[2:])
    assert info['source']['method'] == 'ImageClassifier' and info['sha256'] == teacher.sha256
    assert teacher.defined(None) is None


def test_it_stays_as_it_is(tmp_path):
    out, _, _ = converted(tmp_path)
    teacher = CNNTeacher(weights=str(out), layer=3, img_size=64).train()
    before = load_file(out)
    images = torch.rand(4, 3, 64, 64) * 255
    tokens = teacher(images)
    assert not tokens.requires_grad and not any(p.requires_grad for p in teacher.parameters())
    torch.testing.assert_close(teacher(images[:1]), tokens[:1])  # no statistics of the batch
    assert all(torch.equal(value, before[key]) for key, value in teacher.network.state_dict().items())


def test_everything_the_tokens_depend_on_is_in_the_fingerprint(tmp_path):
    out, _, _ = converted(tmp_path)
    options = [{}, {'layer': 4}, {'img_size': 96}, {'channel_order': 'rgb'}, {'amp_dtype': 'bfloat16'}]
    options += [{'mean': IMAGENET_MEAN}, {'std': IMAGENET_STD}]
    usual = {'weights': str(out), 'layer': 3, 'img_size': 64}
    made = [CNNTeacher(**usual | changed).fingerprint for changed in options]
    assert len(set(made)) == len(options)
    assert CNNTeacher(**usual).fingerprint == made[0]


@pytest.mark.parametrize('options', [dict(prefix='backbone.'), dict(hints=Hints('MAE')), dict(hints=Hints(None, 3))])
def test_what_is_said_of_vits_is_refused(tmp_path, options):
    torch.save(classifier('ResNet')[0], tmp_path / 'x.pth')
    with pytest.raises(WeightsError, match='x.pth holds a CNN, .*: prefix, family, heads and activation are of ViTs'):
        convert_file(tmp_path / 'x.pth', tmp_path / 'y.safetensors', **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['x.pth']


def test_a_network_that_sees_bgr_is_refused(tmp_path):
    checkpoint, _ = classifier('ResNet')
    checkpoint['meta']['cfg'] = checkpoint['meta']['cfg'].replace('to_rgb=True', 'to_rgb=False')
    torch.save(checkpoint, tmp_path / 'x.pth')
    with pytest.raises(WeightsError, match='its network sees BGR images, expected RGB'):
        convert_file(tmp_path / 'x.pth', tmp_path / 'y.safetensors')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['x.pth']


@pytest.mark.parametrize('layer', [0, 5, -1, [3, 3], []])
def test_a_wrong_stage_is_refused(tmp_path, layer):
    out, _, _ = converted(tmp_path)
    with pytest.raises(ConfigError, match='layer='):
        CNNTeacher(weights=str(out), layer=layer, img_size=64)


def test_another_file_is_refused(tmp_path):
    out, _, info = converted(tmp_path)
    random_vit.convert(tmp_path / 'vit.safetensors', say=lambda line: None)
    with pytest.raises(WeightsError, match='needs the JSON file .* it is missing'):
        CNNTeacher(weights=str(tmp_path / 'epoch_3.pth'))
    with pytest.raises(WeightsError, match='needs the JSON file .* it is of random-vit-s14'):
        CNNTeacher(weights=str(tmp_path / 'vit.safetensors'))
    with pytest.raises(ConfigError, match='expected VisionTransformer'):
        ViTTeacher(weights=str(out), img_size=64)
    with pytest.raises(WeightsError, match='SHA-256 is .*, expected aaaa'):
        CNNTeacher(weights=str(out), sha256='a' * 64)
    info['backbone']['base_channels'] = 16
    out.with_suffix('.json').write_text(json.dumps(info))
    with pytest.raises(WeightsError, match='mis-shaped'):
        CNNTeacher(weights=str(out))
