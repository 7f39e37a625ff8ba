"""The table of all networks: is the sparse form exact, and what is it worth."""

import copy
from dataclasses import replace

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..errors import UnsupportedLayerError
from ..sparse import PatchMask, make_sparse
from ..sparse.zoo import REFUSED, ZOO
from .encoder import Setting, steps, use_threads
from .rounds import median_seconds


def relative_error(network: nn.Module, visible: Tensor) -> float:
    """Compare packed with masked in float64: the largest difference of features and of parameter gradients.

    Args:
        network: An ordinary CNN; copies are converted and run in training mode.
        visible: Mask ``(B, Hp, Wp)`` of 32 px patches; its device is where both run.

    Returns:
        Relative to the largest value of each stage, and to the largest gradient.
    """
    batch, rows, columns = visible.shape
    images = torch.randn(batch, 3, 32 * rows, 32 * columns, dtype=torch.float64, device=visible.device)
    results = []
    for backend in ('packed', 'masked'):
        twin = copy.deepcopy(network).to(visible.device).double()
        twin.train()
        feats = make_sparse(twin, backend)(images, PatchMask(visible, 32))
        torch.stack([feat.square().mean() for feat in feats]).sum().backward()
        gradients = [p.grad.flatten() for p in twin.parameters() if p.grad is not None]
        results.append([*(feat.detach() for feat in feats), torch.cat(gradients)])
    packed, masked = results
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in zip(packed, masked, strict=True))


def measure_backbones(setting: Setting, rounds: int = 3) -> list[dict]:
    """Check and time every network of the zoo; say why of those that are refused.

    Args:
        setting: Batch, size, visible patches, precision, threads and device of the timing; ``model`` is replaced.
        rounds: Rounds after one to warm up.

    Returns:
        One row a network: ``model``, ``result`` (exact with its error, or why not), ``masked_ms``, ``packed_ms``,
        ``speedup``.

    Raises:
        ConfigError: A value of the setting cannot be.
    """
    setting.check()
    visible = torch.tensor([[[1, 1, 0], [0, 1, 0]], [[0, 0, 1], [1, 0, 1]]], dtype=torch.bool, device=setting.device)
    found = []
    for name, config in {**ZOO, **REFUSED}.items():
        torch.manual_seed(0)
        row: dict = {'model': name}
        found.append(row)
        try:
            row['result'] = f'exact ({relative_error(MODELS.build(dict(config)), visible):.0e})'
        except UnsupportedLayerError as error:
            row['result'] = f'not supported: {error}'
            continue
        one = replace(setting, model=name)
        with use_threads(setting.threads):
            runs = {variant: steps(one, variant, backward=True) for variant in ('masked', 'packed')}
            seconds = median_seconds(runs, rounds)
        row |= {f'{variant}_ms': 1e3 * value for variant, value in seconds.items()}
        row['speedup'] = seconds['masked'] / seconds['packed']
    return found
