"""Features of labelled images, computed by all processes: what nearest neighbours and linear probes start from."""

from collections.abc import Callable

import torch
from mmengine.dist import all_gather
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..models.knn_head import pooled


@torch.no_grad()
def extract_features(
    network: Callable[[Tensor], tuple[Tensor, ...]], data_preprocessor: nn.Module, loader: DataLoader
) -> tuple[Tensor, Tensor]:
    """Pool the last stage for every image; the processes of a distributed run share the work, each gets all.

    Args:
        network: From images ``(B, 3, H, W)`` to stages, in evaluation mode, the same in every process.
        data_preprocessor: The model's.
        loader: Labelled images in batches, with mmengine's ``DefaultSampler``, unshuffled.

    Returns:
        Features ``(N, C)`` and labels ``(N,)`` in the data set's order, on the network's device.
    """
    feats, labels = [], []
    for index, batch in enumerate(loader):
        data = data_preprocessor(batch, False)
        feats.append(pooled(network(data['inputs'])))
        labels.append(torch.cat([sample.gt_label for sample in data['data_samples']]))
        if index % 100 == 99:
            print_log(f'features: batch {index + 1} of {len(loader)}', logger='current')
    size = len(loader.dataset)  # type: ignore[arg-type]
    whole = [in_order(all_gather(torch.cat(part)), size) for part in (feats, labels)]
    return whole[0], whole[1]


def in_order(parts: list[Tensor], size: int) -> Tensor:
    """Undo the sampler's dealing out: process ``r`` of ``n`` has samples ``r, r + n, ...``, padded to equal length.

    Args:
        parts: Each process's ``(ceil(size / n), ...)``.
        size: Number of samples.

    Returns:
        ``(size, ...)``.
    """
    return torch.stack(parts, 1).flatten(0, 1)[:size]
