"""What teachers share: they are frozen, take images as they come, and give grids of tokens."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ConfigError
from .families import IMAGENET_MEAN, IMAGENET_STD

CHANNEL_ORDERS = ('bgr', 'rgb')
AMP_DTYPES = {None: None, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


class FrozenTeacher(nn.Module):
    """A network that turns images into grids of target tokens.

    It is always in eval mode, without gradients, and meant to live in a hook: as it is no part of the student's model,
    it never enters a checkpoint. A subclass sets ``sha256`` and ``fingerprint``, and calls :meth:`freeze` at last.

    Args:
        layer: Layer whose output is the target, 1 = the first. Several give several targets, in rising order.
        img_size: Side of the network's square input, in pixels. Images are resized to it.
        mean: Mean per channel, RGB, in 0..255. None = ImageNet's.
        std: Standard deviation per channel, RGB, in 0..255. Likewise.
        channel_order: Order of the channels of ``forward``'s input, 'bgr' or 'rgb'. The network itself always sees RGB.
        amp_dtype: Compute in this type by autocast: 'bfloat16' or 'float16', for GPUs and for CPUs with such units.
            None = float32, even if the caller uses autocast.

    Attributes:
        sha256: Of the weight file.
        fingerprint: SHA-256 over everything the tokens depend on: the key of a token cache.
        target: What it can be asked for; 'full' = tokens of the whole image, whatever the student sees.
        statistics: Mean and standard deviation per channel, RGB, in 0..255.
        is_single: ``layer`` is a number, so the target is a tensor and no list.

    Raises:
        ConfigError: An argument has a wrong value.
    """

    mean: Tensor
    std: Tensor
    sha256: str
    fingerprint: str
    target = 'full'

    def __init__(
        self,
        layer: int | Sequence[int],
        img_size: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channel_order: str = 'bgr',
        amp_dtype: str | None = None,
    ) -> None:
        super().__init__()
        check_choice('channel_order', channel_order, CHANNEL_ORDERS)
        check_choice('amp_dtype', amp_dtype, tuple(AMP_DTYPES))
        self.img_size = img_size
        self.layers = sorted([layer] if isinstance(layer, int) else layer)
        self.is_single = isinstance(layer, int)
        self.channel_order = channel_order
        self.amp_dtype = amp_dtype
        self.statistics = [
            [float(value) for value in values] for values in (mean or IMAGENET_MEAN, std or IMAGENET_STD)
        ]
        for name, values in zip(('mean', 'std'), self.statistics, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def freeze(self) -> None:
        """Switch gradients and training mode off for good."""
        self.requires_grad_(False)
        self.train(False)

    def check_layers(self, count: int, what: str) -> None:
        """See that the layers are among 1..``count``, and different; ``what`` begins the message.

        Raises:
            ConfigError: They are not.
        """
        for layer in self.layers:
            if not isinstance(layer, int) or not 1 <= layer <= count:
                raise ConfigError(f'layer={layer}: {what} 1..{count}')
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise ConfigError(f'layer={self.layers}: expected one block, or several different ones')

    @property
    def token_shapes(self) -> list[tuple[int, int, int]]:
        """Shape (C, h, w) of the tokens of each layer."""
        raise NotImplementedError

    @property
    def embed_dims(self) -> int:
        """Width C of a token of the last layer."""
        return self.token_shapes[-1][0]

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns (h, w) of the token grid of the last layer."""
        return self.token_shapes[-1][1:]

    def train(self, mode: bool = True) -> 'FrozenTeacher':
        """Stay in eval mode, whatever ``mode`` is."""
        del mode
        return super().train(False)

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Resize and normalise images for the network.

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
            :meth:`defined` is False they mean nothing.

        Raises:
            ConfigError: No mask for a target that needs one.
            MaskError: The teacher would see nothing of an image.
        """
        pixels = self.preprocess(inputs)
        dtype = AMP_DTYPES[self.amp_dtype]
        with torch.autocast(pixels.device.type, dtype, enabled=dtype is not None):
            tokens = [grid.float() for grid in self.encode(pixels, visible)]
        return tokens[0] if self.is_single else tokens

    def encode(self, pixels: Tensor, visible: Tensor | None) -> list[Tensor]:
        """Return the tokens (B, C, h, w) of each layer for what :meth:`preprocess` gives."""
        raise NotImplementedError

    def defined(self, visible: Tensor | None) -> Tensor | None:
        """Say where tokens mean something: boolean (B, h, w); None = everywhere."""
        del visible
        return None

    def extra_repr(self) -> str:
        """Show what decides the tokens."""
        layer = self.layers[0] if self.is_single else self.layers
        text = f'layer={layer}, img_size={self.img_size}, channel_order={self.channel_order!r}'
        return text if self.target == 'full' else f'{text}, target={self.target!r}'


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


def check_choice(name: str, value: object, choices: Sequence) -> None:
    """See that an option has one of its values.

    Raises:
        ConfigError: It does not.
    """
    if value not in choices:
        raise ConfigError(f'{name}={value!r}: expected one of {tuple(choices)}')
