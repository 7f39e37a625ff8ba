"""Builds a teacher's network from a config and loads its weights strictly."""

import copy
from typing import Any

from mmpretrain.models.backbones import BEiTViT, SwinTransformer, VisionTransformer
from torch import Tensor, nn

from ...errors import ConfigError, WeightsError
from ...registry import MODELS
from .positions import resize_positions, resize_relative_table, set_rotary_positions

_TABLE = 'relative_position_bias_table'


def build_vit(
    backbone: dict,
    state: dict[str, Tensor] | None,
    img_size: int,
    source: str = 'weights',
    **overrides: object,
) -> Any:
    """Build a Transformer for images of one size and load weights of its native size strictly.

    Args:
        backbone: Config of mmpretrain's ``VisionTransformer``, ``BEiTViT``, ``ViTEVA02`` or ``SwinTransformer``;
            ``img_size`` in it is the native size.
        state: All parameters at the native size; None for random weights. Buffers in it are ignored: what they hold
            follows from the size.
        img_size: Size to build for, in pixels. Positions are interpolated once, here.
        source: Name of the weights in error messages.
        **overrides: Further backbone arguments.

    Returns:
        The backbone in eval mode.

    Raises:
        ConfigError: ``img_size`` is no multiple of the patch size, or the backbone is of another kind.
        WeightsError: Keys are missing, unexpected or of another shape.
    """
    config = copy.deepcopy(dict(backbone))
    config['type'] = config.get('type', 'VisionTransformer')
    if '.' not in config['type']:
        config['type'] = f'mmpretrain.{config["type"]}'
    is_swin = config['type'].endswith('SwinTransformer')
    native, patch = config.get('img_size', 224), config.get('patch_size', 4 if is_swin else 16)
    for name, size in (('img_size', img_size), ('backbone.img_size', native)):
        if not isinstance(size, int) or size < patch or size % patch:
            raise ConfigError(f'{name}={size}: expected a positive multiple of patch_size={patch}')
    if not is_swin:
        config.update(overrides or {'out_type': 'featmap'})
    config['img_size'] = img_size
    kind = MODELS.get(config['type'])
    if not isinstance(kind, type) or not issubclass(kind, VisionTransformer | BEiTViT | SwinTransformer):
        raise ConfigError(
            f'teacher backbone {config["type"]}: expected VisionTransformer, BEiTViT, ViTEVA02 or SwinTransformer'
        )
    vit: Any = MODELS.build(config)
    vit.eval()  # returns None in mmpretrain
    set_rotary_positions(vit)
    if state is None:
        return vit
    old, new = (native // patch, native // patch), tuple(vit.patch_resolution)
    wanted = {key: tuple(value.shape) for key, value in vit.named_parameters()}
    buffers = {key: value for key, value in vit.state_dict().items() if key not in wanted}
    state = {key: value for key, value in state.items() if key not in buffers}
    sized = _native_shapes(vit, wanted, old, new)
    check_keys(wanted | sized, state, source)
    resized = {key: _resized(key, value, old, new) for key, value in state.items() if key in sized}
    vit.load_state_dict(state | resized | buffers, strict=True)
    return vit


def _native_shapes(vit: nn.Module, wanted: dict[str, tuple], old: tuple[int, int], new: tuple[int, int]) -> dict:
    """Return the shapes of parameters that depend on the size, as they are at the native size."""
    shapes: dict[str, tuple] = {}
    for key, shape in wanted.items():
        if key.split('.')[-1] in ('pos_embed', 'absolute_pos_embed'):
            extra = shape[1] - new[0] * new[1]
            shapes[key] = (1, old[0] * old[1] + extra, shape[2])
        elif key.endswith(_TABLE) and not isinstance(vit, SwinTransformer):  # Swin's windows stay
            extra = shape[0] - (2 * new[0] - 1) * (2 * new[1] - 1)
            shapes[key] = ((2 * old[0] - 1) * (2 * old[1] - 1) + extra, shape[1])
    return shapes


def _resized(key: str, value: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    resize = resize_relative_table if key.endswith(_TABLE) else resize_positions
    return resize(value, old, new)


def check_keys(wanted: dict[str, tuple], state: dict[str, Tensor], source: str) -> None:
    """Compare a state dict with the shapes it should have.

    Raises:
        WeightsError: Keys are missing, unexpected or of another shape; they are named.
    """
    found = {key: tuple(value.shape) for key, value in state.items()}
    problems = []
    if missing := sorted(wanted.keys() - found.keys()):
        problems.append(f'{len(missing)} missing keys ({some(missing)})')
    if unexpected := sorted(found.keys() - wanted.keys()):
        problems.append(f'{len(unexpected)} unexpected keys ({some(unexpected)})')
    if wrong := sorted(k for k in wanted.keys() & found.keys() if wanted[k] != found[k]):
        shapes = [f'{key} is {found[key]}, expected {wanted[key]}' for key in wrong]
        problems.append(f'{len(wrong)} keys of another shape ({some(shapes)})')
    if problems:
        raise WeightsError(
            f'{source} does not fit the teacher backbone: {"; ".join(problems)}; check `backbone` and `prefix`, '
            'or leave `backbone` out to have it told from the weights'
        )


def some(items: list[str], count: int = 3) -> str:
    """Return the first few items as text."""
    return ', '.join(items[:count]) + (', ...' if len(items) > count else '')
