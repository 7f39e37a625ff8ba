"""Watches the quality of the representation while it is learned."""

import copy
from itertools import islice

import torch
import torch.nn.functional as F
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..registry import HOOKS
from ..transfer import reestimate_batchnorm


def knn_accuracy(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, k: int = 20, temperature: float = 0.07
) -> float:
    """Top-1 accuracy of a weighted k-nearest-neighbour classifier on cosine similarity (arXiv 1805.01978).

    Args:
        bank: ``(N, C)`` training features.
        bank_labels: ``(N,)`` integers.
        queries: ``(M, C)`` features to classify.
        labels: ``(M,)`` integers.
        k: Neighbours; at most N are used.
        temperature: A neighbour votes with ``exp(similarity / temperature)``.

    Returns:
        Percent.
    """
    similarity = F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T
    nearest, index = similarity.topk(min(k, len(bank)), dim=1)
    votes = F.one_hot(bank_labels[index], int(bank_labels.max()) + 1) * (nearest / temperature).exp()[..., None]
    return 100 * (votes.sum(1).argmax(1) == labels).double().mean().item()


@HOOKS.register_module()
class KNNProbeHook(Hook):
    """Log ``val/knn_top1`` of the dense backbone's pooled last stage, every ``interval`` epochs and at the end.

    Args:
        train_dataloader: Config of labelled images, the neighbours.
        val_dataloader: Config of labelled images to classify.
        interval: In epochs.
        k: Neighbours.
        num_batches: Batches on which a copy's BatchNorm is re-estimated for whole images before probing.
    """

    def __init__(
        self, train_dataloader: dict, val_dataloader: dict, interval: int = 10, k: int = 20, num_batches: int = 10
    ) -> None:
        self.loader_cfgs = (train_dataloader, val_dataloader)
        self.loaders: tuple[DataLoader, DataLoader] | None = None
        self.interval = interval
        self.k = k
        self.num_batches = num_batches

    def after_train_epoch(self, runner: Runner) -> None:
        """Probe when it is time."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        if is_main_process():
            runner.logger.info(f'kNN probe after epoch {runner.epoch + 1}: top-1 {self.probe(runner):.2f} %')

    @torch.no_grad()
    def probe(self, runner: Runner) -> float:
        """Return the accuracy now, in percent, and add it to the logs."""
        if self.loaders is None:
            self.loaders = tuple(runner.build_dataloader(dict(cfg)) for cfg in self.loader_cfgs)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        backbone = copy.deepcopy(model.backbone)
        images = (model.data_preprocessor(batch, True)['inputs'] for batch in self.loaders[0])
        reestimate_batchnorm(backbone, islice(images, self.num_batches))
        bank, queries = (extract_features(backbone, model.data_preprocessor, loader) for loader in self.loaders)
        accuracy = knn_accuracy(*bank, *queries, k=self.k)
        runner.message_hub.update_scalar('val/knn_top1', accuracy)
        runner.visualizer.add_scalar('val/knn_top1', accuracy, step=runner.epoch + 1)
        return accuracy


def extract_features(backbone: nn.Module, data_preprocessor: nn.Module, loader: DataLoader) -> tuple[Tensor, Tensor]:
    """Return pooled last-stage features ``(N, C)`` and labels ``(N,)`` of a data set."""
    backbone.eval()
    feats, labels = [], []
    for batch in loader:
        data = data_preprocessor(batch, False)
        feats.append(backbone(data['inputs'])[-1].mean((2, 3)).float().cpu())
        labels.append(torch.cat([sample.gt_label for sample in data['data_samples']]).cpu())
    return torch.cat(feats), torch.cat(labels)
