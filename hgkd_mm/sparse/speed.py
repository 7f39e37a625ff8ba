"""Speed of the sparse backends against the dense network, side by side in one run."""

import statistics
import time
from collections.abc import Callable

import torch
from mmpretrain.models import ResNet

from ..datasets.transforms import random_patch_mask
from .convert import REPLACEMENTS, make_sparse
from .mask import PatchMask


def measure(
    depth: int = 18,
    width: int = 64,
    img_size: int = 128,
    batch_size: int = 32,
    mask_ratio: float = 0.6,
    rounds: int = 5,
) -> dict[str, float]:
    """Time forward and backward of a ResNet, dense and with every backend, taking turns.

    Args:
        depth: ResNet depth.
        width: Channels of the stem.
        img_size: Image side in pixels, a multiple of 32.
        batch_size: Images a step.
        mask_ratio: Share of hidden patches.
        rounds: Rounds after one to warm up; each times every variant once.

    Returns:
        Median milliseconds an image, by variant: 'dense', 'masked', 'packed'.
    """
    images = torch.randn(batch_size, 3, img_size, img_size)
    side = img_size // 32
    variants: dict[str, Callable] = {}
    for name in ['dense', *REPLACEMENTS]:
        net = ResNet(depth, base_channels=width, stem_channels=width, out_indices=(0, 1, 2, 3))
        net.train()
        variants[name] = net if name == 'dense' else make_sparse(net, name)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds + 1):
        masks = [torch.from_numpy(random_patch_mask(side, side, mask_ratio)) for _ in range(batch_size)]
        for name, forward in variants.items():
            start = time.perf_counter()
            # A fresh mask each time: building its tables is part of the cost.
            feats = forward(images) if name == 'dense' else forward(images, PatchMask(torch.stack(masks), 32))
            sum(feat.mean() for feat in feats).backward()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) / batch_size * 1e3 for name, times in seconds.items()}
