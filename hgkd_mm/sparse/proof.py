"""The proof of a conversion: a small random case, packed against masked."""

from contextlib import ExitStack

import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from .forward import SparseForward
from .mask import PatchMask

TOLERANCE = 1e-8
STAGE = 'output '


@torch.no_grad()
def prove(packed: SparseForward, masked: SparseForward, patch_size: int) -> None:
    """See that two conversions of one network agree; the packed one never gets to see a hidden pixel.

    What a network's own code does to its maps (a mean over all positions, an interpolation) is invisible to a walk
    over its layers; here it shows. Runs in float64 and evaluation mode; random numbers drawn elsewhere stay as they
    were.

    Args:
        packed: A conversion of a copy; used up by this.
        masked: A conversion of another copy; used up by this.
        patch_size: Side of a patch in pixels.

    Raises:
        UnsupportedLayerError: They differ; names the first module whose output does.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for ours, theirs in zip(packed.backbone.parameters(), masked.backbone.parameters(), strict=True):
            # Biases and scales at their initial values, zeros and ones, would hide a leak.
            noise = 0.1 * torch.randn(ours.shape) if ours.dim() < 2 else 0.0
            for parameter in (ours, theirs):
                parameter.data = (parameter.data.cpu() + noise).double()
        images = torch.randn(2, 3, 2 * patch_size, 2 * patch_size, dtype=torch.float64)
    for forward in (packed, masked):
        forward.backbone.cpu().double().eval()
    visible = torch.tensor([[[1, 1], [0, 1]], [[0, 1], [0, 0]]], dtype=torch.bool)
    mask = PatchMask(visible, patch_size)
    ours, theirs = _outputs(packed, images, mask), _outputs(masked, images, mask)
    for path, expected in theirs.items():
        if path in ours and not _close(ours[path], expected):
            module = masked.backbone if path.startswith(STAGE) else masked.backbone.get_submodule(path)
            raise UnsupportedLayerError(
                f"module '{path}' ({type(module).__name__}) does something to its maps that has no exact "
                'sparse form, such as a mean over all positions: packed and masked results differ'
            )


def _outputs(forward: SparseForward, images: Tensor, mask: PatchMask) -> dict[str, Tensor]:
    """Return the maps that leave each module, in order of completion, on the grid and zero where hidden."""
    found: dict[str, Tensor] = {}

    def note(path: str, out: Tensor) -> None:
        if isinstance(out, Tensor) and out.dim() == 4 and mask.is_map(*out.shape[-2:]):
            if forward.backend == 'masked' and len(out) == len(mask.visible):
                if not (out.shape[2] % mask.visible.shape[1] or out.shape[3] % mask.visible.shape[2]):
                    found[path] = mask.zero_hidden(out)
            elif len(out) == mask.num_visible:
                found[path] = mask.unpack(out)

    with ExitStack() as stack:
        for path, module in forward.backbone.named_modules():
            if path:
                hook = module.register_forward_hook(lambda _, __, out, path=path: note(path, out))
                stack.callback(hook.remove)
        stages = forward(images, mask)
    for stage, out in enumerate(stages):
        found[f'{STAGE}{stage}'] = out
    return found


def _close(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape:  # one of them is in another layout: compared further on
        return True
    return bool((found - expected).abs().max() <= TOLERANCE * (1 + expected.abs().max()))
