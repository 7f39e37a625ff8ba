"""Supervised classifiers of three libraries become backbones that compute the same and fit every task's network."""

import pytest
import timm
import torch
import torchvision
from mmengine.config import Config
from mmpretrain.registry import MODELS

from hgkd_mm.engine import load_config
from hgkd_mm.errors import ConfigError, WeightsError
from hgkd_mm.hooks.result_hook import read_pretraining
from hgkd_mm.transfer import DistilledBackbone, load_checkpoint_file
from hgkd_mm.transfer.formats import Backbone
from hgkd_mm.transfer.supervised import write_supervised

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
TORCHVISION = {'resnet18': 'resnet18', 'mobilenet-v2': 'mobilenet_v2', 'convnext-tiny': 'convnext_tiny'}
TIMM = {'mobilenet-v2': 'mobilenetv2_100', 'efficientnet-b0': 'tf_efficientnet_b0', 'convnext-tiny': 'convnext_tiny'}


def as_if_trained(network: torch.nn.Module) -> torch.nn.Module:
    """Statistics and affine parameters that are not those of initialisation."""
    torch.manual_seed(0)
    state = network.state_dict()
    vectors = {key: value for key, value in state.items() if value.numel() == max(value.shape, default=0)}
    network.load_state_dict(state | {key: torch.rand_like(value) * 0.5 + 0.75 for key, value in vectors.items()})
    network.eval()
    return network


def classifier_of(library: str, name: str) -> torch.nn.Module:
    return as_if_trained(torchvision.models.get_model(name) if library == 'torchvision' else timm.create_model(name))


CASES = [('torchvision', *item) for item in TORCHVISION.items()] + [('timm', *item) for item in TIMM.items()]


@torch.no_grad()
@pytest.mark.parametrize(('library', 'student', 'name'), CASES)
def test_backbone_computes_what_the_classifier_computes(library, student, name, tmp_path):
    network = classifier_of(library, name)
    torch.save(network.state_dict(), tmp_path / 'classifier.pth')
    meta = write_supervised(tmp_path / 'classifier.pth', student, tmp_path / 'backbone.pth')
    assert meta['source']['layout'] == f"{library}'s {name}"
    # what the classifier's last layer gets
    seen = []
    last = [
        module for module in network.modules() if isinstance(module, torch.nn.Linear) and module.out_features == 1000
    ]
    last[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1)))
    network(IMAGES)
    torch.testing.assert_close(
        Backbone(tmp_path / 'backbone.pth').build_pooled()(IMAGES), seen[0], rtol=1e-3, atol=1e-4
    )
    # complete, for the strict initializer of detectors and segmentors too
    DistilledBackbone(str(tmp_path / 'backbone.pth'))(MODELS.build(meta['backbone']))
    pretraining = read_pretraining(Config(dict(pretrained=str(tmp_path / 'backbone.pth'))))
    assert pretraining['method'] == 'supervised' and pretraining['teacher'] is None


@pytest.mark.parametrize('student', ['convnext-tiny', 'efficientnet-b0'])
def test_checkpoint_of_mmpretrain_is_taken_as_it_is(student, tmp_path):
    backbone = load_config(f'configs/classification/{student}_8xb256-coslr-300e_in1k.py').model.backbone
    network = as_if_trained(MODELS.build(backbone))
    state = {f'backbone.{key}': value for key, value in network.state_dict().items()}
    head = {'head.fc.weight': torch.ones(1000, 8), 'head.fc.bias': torch.ones(1000)}
    torch.save({'state_dict': state | head, 'meta': {}}, tmp_path / 'zoo.pth')
    meta = write_supervised(tmp_path / 'zoo.pth', student, tmp_path / 'backbone.pth')
    assert meta['source']['layout'] == 'mmpretrain'
    found = load_checkpoint_file(tmp_path / 'backbone.pth')['state_dict']
    assert all(torch.equal(found[key], value) for key, value in network.state_dict().items())
    added = found.keys() - network.state_dict().keys()
    assert added == (
        {f'norm{n}.{what}' for n in range(3) for what in ('weight', 'bias')} if 'conv' in student else set()
    )
    assert all((found[key] == float(key.endswith('weight'))).all() for key in added)


def test_what_is_no_classifier_over_the_student_is_refused(tmp_path):
    def write(state, student):
        torch.save(state, tmp_path / 'x.pth')
        write_supervised(tmp_path / 'x.pth', student, tmp_path / 'out.pth')

    with pytest.raises(ConfigError, match="student 'vgg': expected one of convnext-atto, convnext-small, "):
        write({}, 'vgg')
    with pytest.raises(WeightsError, match=r'x.pth: no classifier over this student\ntorchvision: .*layer1.*\ntimm: '):
        write(torchvision.models.resnet34().state_dict(), 'resnet18')
    # the same layers, but torchvision pads otherwise
    network = classifier_of('torchvision', 'efficientnet_b0')
    with pytest.raises(
        WeightsError, match="EfficientNet with weights of torchvision's efficientnet_b0 does not compute"
    ):
        write(network.state_dict(), 'efficientnet-b0')
    state = torchvision.models.mobilenet_v2().state_dict()
    del state['features.3.conv.2.weight']
    with pytest.raises(WeightsError, match=r'1 missing: features\.3\.conv\.2\.weight'):
        write(state, 'mobilenet-v2')
    assert not (tmp_path / 'out.pth').exists()
