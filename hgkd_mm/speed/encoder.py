"""An encoder's forward and backward pass: dense, mmpretrain's sparse networks, and the backends of this project."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from mmpretrain.models.utils.sparse_modules import SparseHelper
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..errors import ConfigError
from ..sparse import PatchMask, make_sparse
from ..sparse.convert import BACKENDS
from ..sparse.spconv.library import has_spconv
from ..sparse.zoo import ZOO
from .rounds import median_seconds

#: The peer: networks that mmpretrain has a dense-then-mask form of.
PEERS: dict[str, dict] = {
    **{
        f'ResNet-{depth}': dict(
            type='SparseResNet',
            depth=depth,
            out_indices=(0, 1, 2, 3),
            norm_cfg=dict(type='mmpretrain.SparseBatchNorm2d'),
        )
        for depth in (18, 34, 50, 101)
    },
    'ConvNeXt-T': dict(type='SparseConvNeXt', arch='tiny', out_indices=(0, 1, 2, 3)),
}

#: Where can be measured.
DEVICES = ('cpu', 'cuda')


@dataclass(frozen=True)
class Setting:
    """What is timed.

    Attributes:
        model: Name in the zoo.
        batch_size: Images a step.
        img_size: Image side in pixels, a multiple of 32.
        visible: Visible patches of 32 px an image.
        amp: bfloat16 autocast instead of float32.
        threads: Threads of PyTorch; of no account on a GPU.
        device: ``'cpu'`` or ``'cuda'``, where networks, images and masks are.
    """

    model: str = 'ResNet-50'
    batch_size: int = 16
    img_size: int = 224
    visible: int = 20
    amp: bool = False
    threads: int = 2
    device: str = 'cpu'

    def check(self) -> None:
        """Raise ConfigError for a value that cannot be."""
        if self.model not in ZOO:
            raise ConfigError(f"unknown model '{self.model}': choose one of {', '.join(ZOO)}")
        if self.device not in DEVICES:
            raise ConfigError(f"device '{self.device}': expected one of {', '.join(DEVICES)}")
        if self.device == 'cuda' and not torch.cuda.is_available():
            raise ConfigError("device 'cuda': found no GPU that PyTorch can use; expected one, or device 'cpu'")
        if self.img_size % 32 or self.img_size < 32:
            raise ConfigError(f'image size {self.img_size}: expected a multiple of 32')
        if not 1 <= self.visible <= (self.img_size // 32) ** 2:
            raise ConfigError(f'{self.visible} visible patches: expected 1 to {(self.img_size // 32) ** 2}')


def available(model: str) -> list[str]:
    """List the variants of a model, from dense to packed."""
    return ['dense', *(['mmpretrain'] if model in PEERS else []), 'masked', *(b for b in BACKENDS if b != 'masked')]


def random_visible(setting: Setting, seed: int = 0) -> Tensor:
    """Draw a mask with the same number of visible patches in every image: ``(B, Hp, Wp)``."""
    side = setting.img_size // 32
    order = torch.rand(setting.batch_size, side * side, generator=torch.Generator().manual_seed(seed)).argsort(1)
    return (order < setting.visible).view(-1, side, side)


def build(setting: Setting, variant: str) -> tuple[nn.Module, Callable[[Tensor, Tensor], list[Tensor]]]:
    """Build one variant in training mode.

    Returns:
        The network, and a function of images ``(B, 3, H, W)`` and mask ``(B, Hp, Wp)`` to its stages.
    """
    torch.manual_seed(0)
    network = MODELS.build(dict(PEERS[setting.model] if variant == 'mmpretrain' else ZOO[setting.model]))
    network.to(setting.device).train()
    if variant == 'dense':
        return network, lambda images, visible: list(network(images))
    if variant == 'mmpretrain':

        def peer(images: Tensor, visible: Tensor) -> list[Tensor]:
            SparseHelper._cur_active = visible[:, None]
            return list(network(images * SparseHelper._get_active_map_or_index(images.shape[-2])))

        return network, peer
    forward = make_sparse(network, variant)
    # A fresh mask each time: building its tables is part of the cost.
    return network, lambda images, visible: forward(images, PatchMask(visible, 32))


def steps(setting: Setting, variant: str, backward: bool) -> Callable[[], None]:
    """Return one forward pass, or forward and backward pass, on random images.

    Each call draws another mask, and returns when the device has done its work.
    """
    return _steps(setting, *build(setting, variant), backward)


def _steps(
    setting: Setting, network: nn.Module, forward: Callable[[Tensor, Tensor], list[Tensor]], backward: bool
) -> Callable[[], None]:
    images = torch.randn(setting.batch_size, 3, setting.img_size, setting.img_size, device=setting.device)
    calls = iter(range(1 << 30))

    def step() -> None:
        visible = random_visible(setting, next(calls)).to(setting.device)
        with torch.autocast(setting.device, torch.bfloat16, enabled=setting.amp):
            feats = forward(images, visible)
        if backward:
            network.zero_grad(set_to_none=True)
            torch.autograd.backward(feats, [torch.ones_like(feat) for feat in feats])
        if setting.device == 'cuda':
            torch.cuda.synchronize()

    return step


@contextlib.contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Let PyTorch use ``count`` threads for the body."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure_encoder(setting: Setting, rounds: int = 5, variants: list[str] | None = None) -> list[dict]:
    """Time the variants of one model, taking turns.

    Args:
        setting: What to time.
        rounds: Rounds after one to warm up.
        variants: Of :func:`available`; None takes all whose libraries are installed.

    Returns:
        One row a variant: ``variant``, ``forward_ms`` and ``step_ms`` (forward and backward) a batch, medians.

    Raises:
        ConfigError: A value of the setting, or a variant, cannot be.
    """
    setting.check()
    names = variants or [name for name in available(setting.model) if name != 'spconv' or has_spconv()]
    if unknown := set(names) - set(available(setting.model)):
        raise ConfigError(f'unknown variant {", ".join(unknown)}: choose of {", ".join(available(setting.model))}')
    with use_threads(setting.threads):
        forward = median_seconds({name: steps(setting, name, backward=False) for name in names}, rounds)
        step = median_seconds({name: steps(setting, name, backward=True) for name in names}, rounds)
    return [dict(variant=name, forward_ms=forward[name] * 1e3, step_ms=step[name] * 1e3) for name in names]


def measure_scaling(
    setting: Setting, rounds: int = 5, fractions: tuple[float, ...] = (), img_sizes: tuple[int, ...] = ()
) -> list[dict]:
    """Time the packed backend over the visible fraction and the image size, all taking turns.

    Args:
        setting: What to time; ``visible`` is replaced.
        rounds: Rounds after one to warm up.
        fractions: Wanted visible fractions; the nearest whole number of patches is taken. The whole image is added.
        img_sizes: Image sides in pixels; none takes the setting's.

    Returns:
        One row a size and fraction: ``img_size``, ``visible``, ``fraction``, ``step_ms``, and ``relative`` to the whole
        image of that size.
    """
    settings = {}
    for size in img_sizes or (setting.img_size,):
        total = (size // 32) ** 2
        for count in sorted({min(total, max(1, round(total * fraction))) for fraction in (*fractions, 1.0)}):
            one = replace(setting, img_size=size, visible=count)
            one.check()
            settings[f'{size} {count / total}'] = one
    with use_threads(setting.threads):
        built = build(setting, 'packed')
        runs = {name: _steps(one, *built, backward=True) for name, one in settings.items()}
        seconds = median_seconds(runs, rounds)
    return [
        dict(
            img_size=one.img_size,
            visible=one.visible,
            fraction=one.visible / (one.img_size // 32) ** 2,
            step_ms=seconds[name] * 1e3,
            relative=seconds[name] / seconds[f'{one.img_size} 1.0'],
        )
        for name, one in settings.items()
    ]


def describe(setting: Setting) -> str:
    """Return the setting for people."""
    total = (setting.img_size // 32) ** 2
    precision = 'bfloat16 autocast' if setting.amp else 'float32'
    if setting.device == 'cpu':
        precision += f', {setting.threads} threads'
    elif not setting.amp:
        kinds = {
            'convolutions': torch.backends.cudnn.allow_tf32,
            'matrix products': torch.backends.cuda.matmul.allow_tf32,
        }
        precision += f', TF32 allowed in {" and ".join(kind for kind in kinds if kinds[kind]) or "nothing"}'
    return (
        f'{setting.model}, {setting.img_size} px, {setting.visible} of {total} patches visible, batch '
        f'{setting.batch_size}, {precision}'
    )
