"""Watches the quality of the representation while it is learned."""

import copy
from collections.abc import Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..engine.network import learned_network
from ..engine.sync_batchnorm import synchronise_batchnorm
from ..errors import ConfigError
from ..models.knn_head import knn_scores
from ..registry import HOOKS
from ..transfer import reestimate_batchnorm
from .features import extract_features
from .teacher_hook import teacher_of


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


def probe_accuracies(
    backbone: nn.Module, data_preprocessor: nn.Module, loaders: Sequence[DataLoader], k: int = 20
) -> dict[str, float]:
    """Return the accuracies of both classifiers on a backbone's pooled last stage, in percent.

    Args:
        backbone: Put into evaluation mode.
        data_preprocessor: The model's.
        loaders: Of images whose classes are known, and of those to classify; see :func:`extract_features`.
        k: Neighbours.
    """
    backbone.eval()
    (bank, bank_labels), (queries, labels) = (
        tuple(values.cpu() for values in extract_features(backbone, data_preprocessor, loader)) for loader in loaders
    )
    data = (bank.float(), bank_labels, queries.float(), labels)
    return {'knn_top1': knn_accuracy(*data, k=k), 'linear_top1': linear_accuracy(*data)}


@HOOKS.register_module()
class ProbeHook(Hook):
    """Log how good the frozen dense backbone's pooled last stage is, every ``interval`` epochs and at the end.

    ``val/knn_top1``: weighted nearest neighbours; ``val/linear_top1``: a linear classifier. Both in percent. The
    processes of a distributed run share the work and find what one would.

    ``val/teacher_knn_top1`` and ``val/teacher_linear_top1``, on request: the same of the teacher's tokens of the same
    whole images, averaged over positions; of several targets the last. Computed once, logged every time.

    Args:
        train_dataloader: Config of labelled images, the neighbours, unshuffled.
        val_dataloader: Config of labelled images to classify, unshuffled.
        interval: In epochs.
        k: Neighbours.
        num_batches: Batches a process on which a copy's BatchNorm is re-estimated for whole images before probing.
        probe_teacher: Probe the run's teacher too, if it has one.

    Raises:
        ConfigError: When it is time for the first time: the teacher to probe has a target other than 'full'.
    """

    def __init__(
        self,
        train_dataloader: dict,
        val_dataloader: dict,
        interval: int = 10,
        k: int = 20,
        num_batches: int = 10,
        probe_teacher: bool = False,
    ) -> None:
        self.loader_cfgs = (train_dataloader, val_dataloader)
        self.loaders: tuple[DataLoader, DataLoader] | None = None
        self.interval = interval
        self.k = k
        self.num_batches = num_batches
        self.probe_teacher = probe_teacher
        self.of_teacher: dict[str, float] | None = None

    def after_train_epoch(self, runner: Runner) -> None:
        """Probe when it is time."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        found = ', '.join(f'{name} {accuracy:.2f} %' for name, accuracy in self.probe(runner).items())
        runner.logger.info(f'Probe after epoch {runner.epoch + 1}: {found}')

    @torch.no_grad()
    def probe(self, runner: Runner) -> dict[str, float]:
        """Return the accuracies now, in percent, and add them to the logs."""
        if self.loaders is None:
            self.loaders = tuple(runner.build_dataloader(dict(cfg)) for cfg in self.loader_cfgs)
        model = learned_network(runner)
        backbone = copy.deepcopy(model.backbone)
        if get_world_size() > 1:  # else every process's features were of statistics of its own
            synchronise_batchnorm(backbone)
        images = (model.data_preprocessor(batch, True)['inputs'] for batch in self.loaders[0])
        reestimate_batchnorm(backbone, islice(images, self.num_batches))
        found = probe_accuracies(backbone, model.data_preprocessor, self.loaders, self.k)
        if self.probe_teacher:
            self.of_teacher = self.of_teacher or self._probe_teacher(runner, self.loaders)
            found |= self.of_teacher
        for name, accuracy in found.items():
            runner.message_hub.update_scalar(f'val/{name}', accuracy)
            runner.visualizer.add_scalar(f'val/{name}', accuracy, step=runner.epoch + 1)
        return found

    def _probe_teacher(self, runner: Runner, loaders: Sequence[DataLoader]) -> dict[str, float]:
        teacher = teacher_of(runner)
        if teacher is None:
            return {}
        if (target := teacher.teachers[-1].target) != 'full':
            raise ConfigError(
                f"ProbeHook: probe_teacher=True shows whole images, found a teacher of target={target!r}, not 'full'"
            )
        untouched = BaseDataPreprocessor().to(teacher.device)  # teachers normalise images themselves
        found = probe_accuracies(teacher, untouched, loaders, self.k)
        return {f'teacher_{name}': accuracy for name, accuracy in found.items()}
