"""Collects the neighbours of a kNN evaluation."""

import torch
from mmengine.dist import all_gather
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from ..errors import ConfigError
from ..models.knn_head import KNNHead
from ..registry import HOOKS


@HOOKS.register_module()
class KNNBankHook(Hook):
    """Before a test run, give the features of labelled images to the model's :class:`hgkd_mm.models.KNNHead`.

    The processes of a distributed run share the work; each gets the whole bank.

    Args:
        dataloader: Config of the labelled images, unshuffled.

    Raises:
        ConfigError: Before the test: the model's head is another one.
    """

    def __init__(self, dataloader: dict) -> None:
        self.dataloader = dataloader

    @torch.no_grad()
    def before_test(self, runner: Runner) -> None:
        """Fill the bank."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not isinstance(model.head, KNNHead):
            raise ConfigError(f'KNNBankHook: model.head is a {type(model.head).__name__}, expected hgkd_mm.KNNHead')
        loader = runner.build_dataloader(dict(self.dataloader))
        model.eval()
        feats, labels = [], []
        for index, batch in enumerate(loader):
            data = model.data_preprocessor(batch, False)
            feats.append(model.head.pool(model.extract_feat(data['inputs'])))
            labels.append(torch.cat([sample.gt_label for sample in data['data_samples']]))
            if index % 100 == 0:
                runner.logger.info(f'kNN bank: batch {index + 1} of {len(loader)}')
        size = len(loader.dataset)
        parts = (all_gather(torch.cat(values)) for values in (feats, labels))
        model.head.remember(*(in_order(part, size) for part in parts))


def in_order(parts: list[Tensor], size: int) -> Tensor:
    """Undo the sampler's dealing out: process ``r`` of ``n`` has samples ``r, r + n, ...``, padded to equal length.

    Args:
        parts: Each process's ``(ceil(size / n), ...)``.
        size: Number of samples.

    Returns:
        ``(size, ...)``.
    """
    return torch.stack(parts, 1).flatten(0, 1)[:size]
