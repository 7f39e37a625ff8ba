"""Exports in other layouts compute what the original computes, and are not written when they do not."""

import json

import numpy as np
import onnxruntime
import pytest
import timm
import torch
import torchvision
from mmpretrain.models import build_backbone
from safetensors.torch import load_file
from torch import nn

from hgkd_mm.engine import load_config
from hgkd_mm.errors import ConfigError, WeightsError
from hgkd_mm.transfer import save_backbone
from hgkd_mm.transfer.align import align_by_execution
from hgkd_mm.transfer.formats import Backbone, write_huggingface, write_library, write_mmlab, write_onnx


def export(tmp_path, config: dict, **meta):
    """Write a backbone whose statistics and affine parameters are not those of initialisation."""
    torch.manual_seed(0)
    network = build_backbone(dict(config))
    weights = {
        key: torch.rand_like(value) * 0.5 + 0.75 if value.ndim == 1 else value
        for key, value in network.state_dict().items()
    }
    save_backbone(tmp_path / 'backbone.pth', weights, {'method': 'hgkd_mm.HGKD', 'backbone': config, **meta})
    network.load_state_dict(weights)
    network.eval()
    return tmp_path / 'backbone.pth', network


IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('student', ['resnet18', 'resnet50', 'mobilenet-v2', 'efficientnet-b0', 'convnext-tiny'])
def test_timm_network_computes_the_same(tmp_path, request, student):
    config = load_config(request.config.rootpath / f'configs/_base_/students/{student}.py').student
    path, network = export(tmp_path, config.to_dict())
    other = timm.create_model(write_library(Backbone(path), tmp_path / 'timm.pth', 'timm'), num_classes=0)
    keys = other.load_state_dict(torch.load(tmp_path / 'timm.pth', weights_only=True), strict=False)
    assert not keys.missing_keys and not keys.unexpected_keys
    other.eval()
    with torch.no_grad():
        expected = Backbone(path).build_pooled()(IMAGES)
        torch.testing.assert_close(other(IMAGES), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('student', ['resnet18', 'resnet50', 'mobilenet-v2', 'convnext-tiny'])
def test_torchvision_network_computes_the_same(tmp_path, request, student):
    config = load_config(request.config.rootpath / f'configs/_base_/students/{student}.py').student
    path, network = export(tmp_path, config.to_dict())
    name = write_library(Backbone(path), tmp_path / 'tv.pth', 'torchvision')
    other = torchvision.models.get_model(name)
    keys = other.load_state_dict(torch.load(tmp_path / 'tv.pth', weights_only=True), strict=False)
    heads = {'resnet': 'fc', 'mobilenet': 'classifier.1', 'convnext': 'classifier.2'}
    head = heads[next(prefix for prefix in heads if name.startswith(prefix))]
    assert keys.missing_keys == [f'{head}.weight', f'{head}.bias'] and not keys.unexpected_keys
    parent, _, name = head.rpartition('.')
    setattr(other.get_submodule(parent), name, nn.Identity())
    other.eval()
    with torch.no_grad():
        if student == 'convnext-tiny':  # its classifier normalises what is pooled, the stages' outputs before
            expected = Backbone(path).build_pooled()(IMAGES)
        else:
            expected = network(IMAGES)[-1].mean((2, 3))
        torch.testing.assert_close(other(IMAGES), expected, rtol=1e-3, atol=1e-4)


def test_network_that_computes_something_else_is_not_written(tmp_path):
    # mmpretrain's EfficientNet pads as TensorFlow does, torchvision's does not: same layers, other results
    path, _ = export(tmp_path, dict(type='EfficientNet', arch='b0', out_indices=(2, 3, 4, 6)))
    with pytest.raises(WeightsError, match="torchvision's efficientnet_b0 does not compute what the original computes"):
        write_library(Backbone(path), tmp_path / 'out.pth', 'torchvision')
    assert not (tmp_path / 'out.pth').exists()


def test_other_width_is_not_the_same_network(tmp_path):
    path, _ = export(tmp_path, dict(type='ResNet', depth=18, base_channels=8, stem_channels=8))
    with pytest.raises(
        WeightsError, match=r"layer 'conv1' of ResNet holds \[\(64, 3, 7, 7\)\], ours \[\(8, 3, 7, 7\)\]"
    ):
        write_library(Backbone(path), tmp_path / 'out.pth', 'torchvision')


def test_alignment_follows_the_order_of_execution_not_of_registration():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.second = nn.Conv2d(4, 4, 1)
            self.unused = nn.Conv2d(4, 4, 1)
            self.first = nn.Conv2d(3, 4, 1)

        def forward(self, images):
            return self.second(self.first(images))

    source = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
    values = align_by_execution(source, Backwards(), IMAGES)
    assert set(values) == {'first.weight', 'first.bias', 'second.weight', 'second.bias'}
    assert torch.equal(values['second.weight'], source[1].weight)
    with pytest.raises(WeightsError, match='Sequential has 1 layers with weights, Backwards 2'):
        align_by_execution(source[:1], Backwards(), IMAGES)


SMALL = dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8, out_indices=[0, 1, 2, 3])


def test_onnx_graph_computes_every_stage_for_any_batch_size(tmp_path):
    path, network = export(tmp_path, SMALL)
    write_onnx(Backbone(path), tmp_path / 'b.onnx', image_size=64)
    session = onnxruntime.InferenceSession(str(tmp_path / 'b.onnx'))
    images = torch.cat([IMAGES] * 3)
    found = session.run(None, {'images': images.numpy()})
    with torch.no_grad():
        for a, b in zip(found, network(images), strict=True):
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-3, atol=1e-4)


def test_hugging_face_folder_has_weights_config_and_card(tmp_path):
    path, network = export(tmp_path, SMALL, epochs=300, teacher={'name': 'mae-vit-b16'})
    write_huggingface(Backbone(path), tmp_path / 'hub')
    weights = load_file(tmp_path / 'hub' / 'model.safetensors')
    assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())
    assert json.loads((tmp_path / 'hub' / 'config.json').read_text())['epochs'] == 300
    card = (tmp_path / 'hub' / 'README.md').read_text()
    assert '# ResNet backbone, pretrained by hgkd_mm.HGKD' in card
    assert '| Teacher | `{"name": "mae-vit-b16"}` |' in card and '| Pretraining epochs | 300 |' in card
    (tmp_path / 'hub' / 'notes.txt').touch()
    with pytest.raises(ConfigError, match=r'hub: holds other files \(notes.txt\)'):
        write_huggingface(Backbone(path), tmp_path / 'hub')


def test_whole_models_are_read_too_and_other_networks_refused(tmp_path):
    path, network = export(tmp_path, SMALL)
    model = {f'backbone.{key}': value for key, value in network.state_dict().items()}
    cfg = f'model = dict(type="hgkd_mm.HGKD", backbone={SMALL!r})'
    torch.save({'state_dict': model, 'meta': {'cfg': cfg}}, tmp_path / 'epoch_1.pth')
    assert torch.equal(Backbone(tmp_path / 'epoch_1.pth').build().conv1.weight, network.conv1.weight)
    save_backbone(tmp_path / 'x.pth', network.state_dict(), {'backbone': {'type': 'Nonsense'}})
    with pytest.raises(WeightsError, match=r'x.pth: its backbone is Nonsense, expected a network of mmpretrain'):
        Backbone(tmp_path / 'x.pth')
    save_backbone(tmp_path / 'hr.pth', network.state_dict(), {'backbone': {'type': 'HRNet', 'arch': 'w18'}})
    with pytest.raises(WeightsError, match=r'hr.pth: timm has no HRNet like'):
        write_library(Backbone(tmp_path / 'hr.pth'), tmp_path / 'x', 'timm')
    with pytest.raises(ConfigError, match="library='keras'"):
        write_library(Backbone(path), tmp_path / 'x', 'keras')


def test_any_network_of_mmpretrain_can_be_exported(tmp_path):
    path, network = export(tmp_path, dict(type='mmpretrain.MobileNetV3', arch='small_050', out_indices=[0, 1, 12]))
    write_huggingface(Backbone(path), tmp_path / 'hub')
    assert write_onnx(Backbone(path), tmp_path / 'b.onnx', image_size=64) < 1e-4
    assert 'MobileNetV3 backbone' in (tmp_path / 'hub' / 'README.md').read_text()


def test_plain_file_is_read_back_and_run(tmp_path, monkeypatch):
    _, network = export(tmp_path, SMALL)
    model = {f'backbone.{key}': value for key, value in network.state_dict().items()}
    meta = {'cfg': f'model = dict(type="hgkd_mm.HGKD", backbone={SMALL!r})', 'epoch': 3}
    torch.save({'state_dict': model, 'meta': meta}, tmp_path / 'epoch_3.pth')
    assert write_mmlab(tmp_path / 'epoch_3.pth', tmp_path / 'plain.pth')['epochs'] == 3
    found = torch.load(tmp_path / 'plain.pth', weights_only=True)['state_dict']
    assert all(torch.equal(found[key], value) for key, value in network.state_dict().items())
    torch.save({'state_dict': model}, tmp_path / 'zoo.pth')  # does not say which network it is
    assert write_mmlab(tmp_path / 'zoo.pth', tmp_path / 'zoo-backbone.pth')['backbone'] is None
    monkeypatch.setattr('hgkd_mm.transfer.formats.TOLERANCE', -1)
    with pytest.raises(WeightsError, match='never.pth does not compute what the original computes'):
        write_mmlab(tmp_path / 'epoch_3.pth', tmp_path / 'never.pth')
    assert not (tmp_path / 'never.pth').exists()
