"""Weights of TorchScript archives, read without running anything."""

import os
import pickle
import zipfile

import pytest
import teacher_references as ref
import torch
from torch import nn

from hgkd_mm.errors import WeightsError
from hgkd_mm.models.teachers import ViTTeacher
from hgkd_mm.models.teachers.layouts import identify_file
from hgkd_mm.models.teachers.layouts.torchscript import is_torchscript, read_torchscript


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)).half()
        self.logit_scale = nn.Parameter(torch.ones([]))
        self.register_buffer('mask', torch.arange(6.0).view(2, 3).T)
        self.sizes = [1, 2]

    def forward(self, x):
        return self.logit_scale * x + self.sizes[0]


@pytest.mark.parametrize('compile', [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(1))])
def test_weights_are_those_that_torch_itself_reads(compile, tmp_path):
    path = str(tmp_path / 'model.pt')
    compile(Small()).save(path)
    assert is_torchscript(path)
    wanted, found = torch.jit.load(path).state_dict(), read_torchscript(path)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


class Tree(nn.Module):
    """Parameters under dotted names."""

    def __init__(self, state: dict) -> None:
        super().__init__()
        for key, value in state.items():
            *path, name = key.split('.')
            node = self
            for part in path:
                if part not in node._modules:
                    node.add_module(part, Tree({}))
                node = node._modules[part]
            node.register_parameter(name, nn.Parameter(value))

    def forward(self, x):
        return x


def test_a_clip_archive_gives_the_tokens_of_its_state_dict(tmp_path):
    state = {key: value.half() for key, value in ref.openai_clip(ref.weights(ref.NETWORKS['CLIP']())).items()}
    torch.jit.trace(Tree(state), torch.ones(1)).save(str(tmp_path / 'ViT-B-16.pt'))
    torch.save(state, tmp_path / 'state.pth')
    assert identify_file(tmp_path / 'ViT-B-16.pt').layout == 'OpenAI CLIP'
    images = torch.randint(0, 256, (1, 3, 56, 56), dtype=torch.uint8)
    one, other = (ViTTeacher(weights=str(tmp_path / n), layer=2, img_size=56) for n in ('ViT-B-16.pt', 'state.pth'))
    assert torch.equal(one(images), other(images))


class Evil:
    def __reduce__(self):
        return os.mkdir, ('executed',)


def test_code_in_the_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile('evil.pt', 'w') as archive:
        archive.writestr('evil/data.pkl', pickle.dumps(Evil()))
        archive.writestr('evil/constants.pkl', b'')
    with pytest.raises(WeightsError, match='evil.pt: a TorchScript archive that cannot be read .*mkdir is not allowed'):
        identify_file('evil.pt')
    assert not (tmp_path / 'executed').exists()


def test_a_cut_archive_is_refused(tmp_path):
    path = tmp_path / 'model.pt'
    torch.jit.script(Small()).save(str(path))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(WeightsError, match='model.pt'):
        identify_file(path)
