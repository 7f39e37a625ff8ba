"""A backbone in several layouts: mmlab, torchvision, timm, Hugging Face, ONNX. Each is run against the original."""

import importlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmpretrain.registry import MODELS
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..compat import onnx_export_options
from ..errors import ConfigError, WeightsError
from ..models.knn_head import pooled
from ..utils import atomic_write, sha256_file
from .align import align_by_execution
from .checkpoint import load_checkpoint_file, state_dict_of
from .export import backbone_of, describe, export_backbone
from .strict import load_strictly

#: Names of the students' networks, by type and depth or architecture: in torchvision and in timm.
LIBRARY_NAMES: dict[tuple[str, int | str | None], tuple[str, str]] = {
    ('MobileNetV2', None): ('mobilenet_v2', 'mobilenetv2_100'),
    ('EfficientNet', 'b0'): ('efficientnet_b0', 'tf_efficientnet_b0'),
}
for _depth in (18, 34, 50, 101, 152):
    LIBRARY_NAMES['ResNet', _depth] = (f'resnet{_depth}', f'resnet{_depth}')
for _arch in ('tiny', 'small', 'base', 'large'):
    LIBRARY_NAMES['ConvNeXt', _arch] = (f'convnext_{_arch}', f'convnext_{_arch}')
#: Arguments of a backbone that a classifier reads, where they are not those of the other tasks.
CLASSIFIER_ARGUMENTS: dict[str, dict[str, Any]] = {'ConvNeXt': {'out_indices': (3,), 'gap_before_final_norm': True}}
#: Largest difference of a written file's output from the original's, relative to the largest value.
TOLERANCE = 1e-4


class Backbone:
    """A backbone's file, read: network, weights and where they come from.

    Args:
        path: A backbone file of this project or the checkpoint of a whole model.

    Raises:
        WeightsError: The file is damaged, or does not say which network it is for.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        checkpoint = load_checkpoint_file(path)
        weights = state_dict_of(checkpoint, path)
        self.meta: dict[str, Any] = dict(checkpoint.get('meta') or {})
        if 'backbone' not in self.meta:
            weights, self.meta = backbone_of(weights, path), describe(self.meta)
        self.path = Path(path)
        self.weights = weights
        self.config = self.meta.get('backbone')
        self.kind = str((self.config or {}).get('type')).rpartition('.')[2]
        if MODELS.get(self.kind) is None:
            raise WeightsError(
                f'{path}: its backbone is {self.kind}, expected a network of mmpretrain: a file of this project, or '
                'the checkpoint of a whole model with its config'
            )

    @property
    def dense_config(self) -> dict[str, Any]:
        """Config of mmpretrain's network, without where its weights came from."""
        config = {key: value for key, value in (self.config or {}).items() if key != 'init_cfg'}
        config['type'] = f'mmpretrain.{self.kind}'
        if self.kind == 'ResNet' or str((config.get('norm_cfg') or {}).get('type')) == 'SyncBN':
            config['norm_cfg'] = {'type': 'BN'}  # SyncBN wants GPUs
        return config

    def build(self, **changes: Any) -> nn.Module:
        """Build the dense network with these weights, in evaluation mode; ``changes`` go to its config."""
        network = MODELS.build(self.dense_config | changes)
        weights = {key: value for key, value in self.weights.items() if key in network.state_dict() or not changes}
        load_strictly(network, weights, str(self.path))
        network.eval()
        return network

    def build_pooled(self) -> nn.Module:
        """Build it to give the pooled features ``(B, C)`` of its last stage, as a classifier reads them."""
        return Pooled(self.build(**CLASSIFIER_ARGUMENTS.get(self.kind, {})))


class Pooled(nn.Module):
    """A network that gives the pooled features ``(B, C)`` of its last stage."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, 3, H, W)``."""
        return pooled(self.network(images))


def write_mmlab(checkpoint: str | os.PathLike, out: str | os.PathLike) -> dict[str, Any]:
    """Write ``backbone.pth`` from the checkpoint of a whole model, see :func:`export_backbone`, and run it.

    A checkpoint that does not say which network it is for, as those of model zoos, cannot be run.

    Returns:
        The ``meta`` written; its ``backbone`` is None where nothing was run.

    Raises:
        WeightsError: The checkpoint has no backbone, or the network reads the file back differently.
    """
    with atomic_write(out) as temporary:
        meta = export_backbone(checkpoint, temporary)
        if meta['backbone']:
            compare(Backbone(checkpoint).build(), Backbone(temporary).build(), sample_images(), str(out))
    return meta


def build_in_library(config: Mapping[str, Any], library: str, source: str) -> tuple[str, nn.Module]:
    """Build the network of a mmpretrain config by torchvision's or timm's code, random, without a classifier.

    Args:
        config: Of a backbone.
        library: ``'torchvision'`` or ``'timm'``; it must be installed.
        source: Name of the backbone's file for messages.

    Returns:
        Its name there, and the network from images ``(B, 3, H, W)`` to pooled features ``(B, C)``.

    Raises:
        ConfigError: Unknown or not installed library.
        WeightsError: The library has no such network.
    """
    if library not in ('torchvision', 'timm'):
        raise ConfigError(f'library={library!r}, expected torchvision or timm')
    try:
        module = importlib.import_module(library)
    except ImportError:
        raise ConfigError(f'{library} is not installed: pip install {library}') from None
    kind = str(config.get('type')).rpartition('.')[2]
    variant = config.get('depth', config.get('arch'))
    names = LIBRARY_NAMES.get((kind, variant)) if isinstance(variant, str | int | None) else None
    if names is None:
        raise WeightsError(f'{source}: {library} has no {kind} like {config}')
    if library == 'timm':
        return names[1], module.create_model(names[1], num_classes=0)
    network = module.models.get_model(names[0])
    if kind == 'ResNet':
        network.fc = nn.Identity()
    else:
        network.classifier[-1] = nn.Identity()
    return names[0], network


def write_library(backbone: Backbone, out: str | os.PathLike, library: str) -> str:
    """Write the plain state dict of torchvision's or timm's network of the same architecture, without a classifier.

    Args:
        backbone: What to write.
        out: ``.pth`` file.
        library: ``'torchvision'`` or ``'timm'``; it must be installed.

    Returns:
        The network's name there.

    Raises:
        ConfigError: Unknown or not installed library.
        WeightsError: The library has no such network, or its network computes something else.
    """
    name, network = build_in_library(backbone.config or {}, library, str(backbone.path))
    original = backbone.build_pooled()
    images = sample_images()
    weights = align_by_execution(original, network, images)
    network.load_state_dict(weights, strict=False)
    network.eval()
    compare(original, network, images, f"{library}'s {name}")
    with atomic_write(out) as temporary:
        torch.save(weights, temporary)
    return name


def write_onnx(backbone: Backbone, out: str | os.PathLike, image_size: int = 224) -> float:
    """Write an ONNX graph from ``images`` ``(B, 3, H, W)``, batch size free, to one output a stage.

    Args:
        backbone: What to write.
        out: ``.onnx`` file.
        image_size: Side of the square images, in pixels.

    Returns:
        Largest difference of ONNX Runtime's outputs from PyTorch's, relative to the largest value.

    Raises:
        WeightsError: ONNX Runtime computes something else.
    """
    import onnxruntime

    network, images = backbone.build(), sample_images(image_size)
    with torch.no_grad():
        names = [f'stage{index}' for index in range(1, len(network(images)) + 1)]
    with atomic_write(out) as temporary:
        torch.onnx.export(
            network,
            (images,),
            str(temporary),
            input_names=['images'],
            output_names=names,
            dynamic_axes={name: {0: 'batch'} for name in ('images', *names)},
            **onnx_export_options(),
        )
        session = onnxruntime.InferenceSession(str(temporary), providers=['CPUExecutionProvider'])

        def run(batch: Tensor) -> list[Tensor]:
            return [torch.from_numpy(out) for out in session.run(None, {'images': batch.numpy().astype(np.float32)})]

        return compare(network, run, torch.cat([images, images.flip(0)])[:3], 'ONNX Runtime')


def write_huggingface(backbone: Backbone, out: str | os.PathLike) -> None:
    """Write a folder as Hugging Face's hub has them: ``model.safetensors``, ``config.json`` and a model card.

    Raises:
        ConfigError: The folder holds other files.
        WeightsError: The network reads them back differently.
    """
    folder = Path(out)
    files = ('model.safetensors', 'config.json', 'README.md')
    foreign = sorted({p.name for p in folder.iterdir()} - set(files)) if folder.is_dir() else []
    if foreign:
        raise ConfigError(f'{folder}: holds other files ({", ".join(foreign[:3])}); give a new or empty folder')
    with atomic_write(folder / files[0]) as temporary:
        save_file(dict(backbone.weights), temporary, metadata={'format': 'pt'})
        again = backbone.build()
        load_strictly(again, load_file(temporary), str(folder / files[0]))
        compare(backbone.build(), again, sample_images(), 'model.safetensors')
    with atomic_write(folder / files[1]) as temporary:
        temporary.write_text(json.dumps(backbone.meta, indent=2) + '\n', encoding='utf-8')
    with atomic_write(folder / files[2]) as temporary:
        temporary.write_text(model_card(backbone.meta, sha256_file(folder / files[0])), encoding='utf-8')


def model_card(meta: Mapping[str, Any], sha256: str) -> str:
    """Return the Markdown card of a backbone: what it is, where it comes from, how to load it."""
    config = json.dumps(meta.get('backbone'))
    rows = {
        'Method': meta.get('method'),
        'Backbone': f'`{config}`',
        'Teacher': f'`{json.dumps(meta.get("teacher"))}`' if meta.get('teacher') else None,
        'Pretraining epochs': meta.get('epochs'),
        'Share of hidden patches': meta.get('mask_ratio'),
        'Seed': meta.get('seed'),
        'Experiment': meta.get('experiment'),
        'BatchNorm statistics': meta.get('batchnorm_statistics'),
        'Normalisation of images': f'`{json.dumps(meta["normalization"])}`' if meta.get('normalization') else None,
        'SHA-256 of model.safetensors': f'`{sha256}`',
    }
    table = '\n'.join(f'| {name} | {value} |' for name, value in rows.items() if value is not None)
    return f"""---
library_name: mmpretrain
tags: [image-feature-extraction, backbone, knowledge-distillation, hgkd]
---

# {str((meta.get('backbone') or {}).get('type')).rpartition('.')[2]} backbone, pretrained by {meta.get('method')}

| | |
|---|---|
{table}

```python
from mmpretrain.models import build_backbone
from safetensors.torch import load_file

backbone = build_backbone({config})
backbone.load_state_dict(load_file('model.safetensors'))
```

Written by hgkd-mm. The licence of the weights depends on the teacher and on the images they were trained on: state it
here.
"""


def sample_images(size: int = 64) -> Tensor:
    """Give two images ``(2, 3, size, size)`` of noise, always the same, to run networks on."""
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 4 - 2


@torch.no_grad()
def compare(original: Callable, written: Callable, images: Tensor, name: str) -> float:
    """Run two networks.

    Args:
        original: From images to a tensor or a tuple of tensors.
        written: The same by the code and the weights that were written.
        images: ``(B, 3, H, W)``.
        name: Of the second, for messages.

    Returns:
        Largest difference of the outputs, relative to the largest value.

    Raises:
        WeightsError: It is above :data:`TOLERANCE`.
    """
    pairs = zip(_tuple(original(images)), _tuple(written(images)), strict=True)
    error = max(((a - b).abs().max() / a.abs().max().clamp(min=1e-12)).item() for a, b in pairs)
    if not error < TOLERANCE:
        raise WeightsError(
            f'{name} does not compute what the original computes (relative difference {error:.2g}): not written'
        )
    return error


def _tuple(outputs: Any) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
