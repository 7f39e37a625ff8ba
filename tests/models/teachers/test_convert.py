"""tools/convert_teacher.py: what it says, what it writes, what it refuses."""

import argparse
import json

import pytest
import teacher_references as ref
import torch

from hgkd_mm.compat import HAS_SAFE_GLOBALS
from hgkd_mm.errors import WeightsError
from hgkd_mm.models.teachers import ViTTeacher
from hgkd_mm.models.teachers.convert import convert_file
from hgkd_mm.models.teachers.families import Hints
from hgkd_mm.utils import sha256_file


@pytest.fixture
def clip_file(tmp_path):
    path = tmp_path / 'ViT-B-16.pt'
    torch.save({'state_dict': ref.openai_clip(ref.weights(ref.NETWORKS['CLIP']()))}, path)
    return path


def test_a_converted_teacher_gives_the_tokens_of_the_file_itself(clip_file, tmp_path):
    said = []
    info = convert_file(clip_file, tmp_path / 'out.safetensors', say=said.append)
    assert json.loads((tmp_path / 'out.json').read_text()) == info
    assert info['sha256'] == sha256_file(tmp_path / 'out.safetensors')
    assert info['source']['sha256'] == sha256_file(clip_file)
    images = torch.randint(0, 256, (1, 3, 56, 56), dtype=torch.uint8)
    direct, converted = (
        ViTTeacher(weights=str(path), layer=2, img_size=56) for path in (clip_file, tmp_path / 'out.safetensors')
    )
    assert torch.equal(direct(images), converted(images))
    text = '\n'.join(said)
    assert "CLIP, layout of OpenAI CLIP, keys under 'visual.'" in text
    assert '3 blocks, 128 wide, 2 heads, patch 14, native size 56 px (4x4 patches)' in text
    assert '43 keys read' in text
    assert '1 left out (head): head.weight' in text
    assert '2 left out (another part of the checkpoint): logit_scale, transformer' in text
    assert 'assumed: activation quick_gelu' in text


def test_hints_decide_what_weights_do_not_tell(clip_file, tmp_path):
    out = tmp_path / 'out.safetensors'
    info = convert_file(clip_file, out, hints=Hints(num_heads=4, activation='gelu'), say=lambda _: None)
    assert info['backbone']['arch']['num_heads'] == 4
    assert 'layer_cfgs' not in info['backbone'] and info['assumed'] == []
    path = tmp_path / 'beit.pth'
    torch.save(ref.weights(ref.NETWORKS['BEiT']()), path)
    means = [
        convert_file(path, out, hints=Hints(family=family), say=lambda _: None)['mean'] for family in (None, 'BEiT v2')
    ]
    assert means == [[127.5] * 3, [123.675, 116.28, 103.53]]


def test_a_config_of_hugging_face_beside_the_weights_is_asked(tmp_path):
    path = tmp_path / 'model.pth'
    torch.save(ref.hugging_face_clip(ref.weights(ref.NETWORKS['CLIP']())), path)
    config = {'vision_config': {'num_attention_heads': 4, 'hidden_act': 'gelu'}}
    (tmp_path / 'config.json').write_text(json.dumps(config))
    info = convert_file(path, tmp_path / 'out.safetensors', say=lambda _: None)
    assert info['backbone']['arch']['num_heads'] == 4 and 'layer_cfgs' not in info['backbone']


def _without(key):
    def edit(state):
        del state[key]
        return state

    return edit


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (
            lambda s: {'conv1.weight': torch.ones(64, 3, 7, 7)},
            r'no teacher known here.*patch_embed.proj.weight \(offic',
        ),
        (lambda s: {'patch_embed.proj.weight': torch.ones(8, 3, 4, 4)}, 'the blocks of none of SimMIM; EVA-02'),
        (lambda s: s | {'blocks.0.attn.q_norm.weight': torch.ones(64)}, 'unknown: blocks.0.attn.q_norm.weight'),
        (_without('blocks.1.mlp.fc2.bias'), 'missing keys .layers.1.ffn.layers.1.bias'),
        (lambda s: s | {'blocks.1.norm1.bias': torch.ones(3)}, r'layers.1.ln1.bias is \(3,\), expected \(128,\)'),
        (lambda s: s | {'pos_embed': torch.ones(1, 24, 128)}, 'pos_embed has 23 entries, not a square grid'),
        (lambda s: s | {'norm.bias': torch.full((128,), torch.nan)}, 'not finite, e.g. ln1.bias'),
        (lambda s: {f'{p}.{k}': v for k, v in s.items() for p in 'ab'}, "holds 2 Transformers, under 'a.', 'b.'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_and_nothing_is_written(edit, message, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(edit(ref.weights(ref.NETWORKS['MAE']())), path)
    with pytest.raises(WeightsError, match=message):
        convert_file(path, tmp_path / 'out.safetensors', say=lambda _: None)
    assert list(tmp_path.iterdir()) == [path]


def test_one_of_several_transformers_is_chosen_by_prefix(tmp_path):
    path = tmp_path / 'weights.pth'
    weights = ref.weights(ref.NETWORKS['MAE']())
    torch.save({f'{p}.{k}': v * (1 + (p == 'b')) for k, v in weights.items() for p in 'ab'}, path)
    teacher = ViTTeacher(weights=str(path), prefix='b.', layer=1, img_size=56)
    assert torch.equal(teacher.vit.cls_token, 2 * weights['cls_token'])


@pytest.mark.parametrize(
    'options',
    [
        {},
        pytest.param(
            {'args': argparse.Namespace(lr=1.0)},
            marks=pytest.mark.skipif(not HAS_SAFE_GLOBALS, reason='torch before 2.5 reads plain values only'),
        ),
    ],
    ids=['weights alone', 'options of the run'],
)
def test_the_teacher_of_a_self_distilled_checkpoint_is_taken(options, tmp_path):
    """iBOT and DINO save student and teacher; the options of the run are plain values."""
    weights = ref.weights(ref.NETWORKS['MAE']()) | {'masked_embed': torch.ones(1, 128)}
    both = {
        name: {f'module.backbone.{k}': v + n for k, v in weights.items()}
        for n, name in enumerate(('student', 'teacher'))
    }
    path = tmp_path / 'checkpoint.pth'
    torch.save(both | {'epoch': 3} | options, path)
    info = convert_file(path, tmp_path / 'out.safetensors', say=lambda _: None)
    assert info['family'] == 'iBOT' and info['source']['prefix'] == 'module.backbone.'
    teacher = ViTTeacher(weights=str(tmp_path / 'out.safetensors'), layer=1, img_size=56)
    assert torch.equal(teacher.vit.cls_token, weights['cls_token'] + 1)
