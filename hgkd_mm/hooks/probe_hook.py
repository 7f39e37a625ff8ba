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

from ..models.knn_head import knn_scores
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
    votes = knn_scores(queries, bank, bank_labels, int(bank_labels.max()) + 1, k, temperature)
    return 100 * (votes.argmax(1) == labels).double().mean().item()


def linear_accuracy(bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, penalty: float = 0.1) -> float:
    """Top-1 accuracy of a linear classifier, fitted by ridge regression on standardised features.

    Args:
        bank: ``(N, C)`` training features.
        bank_labels: ``(N,)`` integers.
        queries: ``(M, C)`` features to classify.
        labels: ``(M,)`` integers.
        penalty: Of the squared weights, for features of unit variance and the mean squared error.

    Returns:
        Percent.
    """
    mean, std = bank.double().mean(0), bank.double().std(0) + 1e-6
    bank, queries = ((feats.double() - mean) / std for feats in (bank, queries))
    targets = F.one_hot(bank_labels, int(bank_labels.max()) + 1).double()
    offset = targets.mean(0)
    gram = bank.T @ bank / len(bank) + penalty * torch.eye(bank.shape[1], dtype=bank.dtype)
    weights = torch.linalg.solve(gram, bank.T @ (targets - offset) / len(bank))
    return 100 * ((queries @ weights + offset).argmax(1) == labels).double().mean().item()


@HOOKS.register_module()
class ProbeHook(Hook):
    """Log how good the frozen dense backbone's pooled last stage is, every ``interval`` epochs and at the end.

    ``val/knn_top1``: weighted nearest neighbours; ``val/linear_top1``: a linear classifier. Both in percent.

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
            found = ', '.join(f'{name} {accuracy:.2f} %' for name, accuracy in self.probe(runner).items())
            runner.logger.info(f'Probe after epoch {runner.epoch + 1}: {found}')

    @torch.no_grad()
    def probe(self, runner: Runner) -> dict[str, float]:
        """Return the accuracies now, in percent, and add them to the logs."""
        if self.loaders is None:
            self.loaders = tuple(runner.build_dataloader(dict(cfg)) for cfg in self.loader_cfgs)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        backbone = copy.deepcopy(model.backbone)
        images = (model.data_preprocessor(batch, True)['inputs'] for batch in self.loaders[0])
        reestimate_batchnorm(backbone, islice(images, self.num_batches))
        bank, queries = (extract_features(backbone, model.data_preprocessor, loader) for loader in self.loaders)
        found = {
            'knn_top1': knn_accuracy(*bank, *queries, k=self.k),
            'linear_top1': linear_accuracy(*bank, *queries),
        }
        for name, accuracy in found.items():
            runner.message_hub.update_scalar(f'val/{name}', accuracy)
            runner.visualizer.add_scalar(f'val/{name}', accuracy, step=runner.epoch + 1)
        return found


def extract_features(backbone: nn.Module, data_preprocessor: nn.Module, loader: DataLoader) -> tuple[Tensor, Tensor]:
    """Return pooled last-stage features ``(N, C)`` and labels ``(N,)`` of a data set."""
    backbone.eval()
    feats, labels = [], []
    for batch in loader:
        data = data_preprocessor(batch, False)
        feats.append(backbone(data['inputs'])[-1].mean((2, 3)).float().cpu())
        labels.append(torch.cat([sample.gt_label for sample in data['data_samples']]).cpu())
    return torch.cat(feats), torch.cat(labels)
