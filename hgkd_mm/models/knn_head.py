"""Classification by nearest neighbours: what frozen features are worth, with nothing to train."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.structures import DataSample
from torch import Tensor

from ..errors import ConfigError
from ..registry import MODELS


def knn_scores(
    queries: Tensor, bank: Tensor, bank_labels: Tensor, num_classes: int, k: int = 20, temperature: float = 0.07
) -> Tensor:
    """Votes of a weighted k-nearest-neighbour classifier on cosine similarity (arXiv 1805.01978).

    Args:
        queries: ``(M, C)`` features to classify.
        bank: ``(N, C)`` features whose classes are known.
        bank_labels: ``(N,)`` integers below ``num_classes``.
        num_classes: Number of classes.
        k: Neighbours; at most N are used.
        temperature: A neighbour votes with ``exp(similarity / temperature)``.

    Returns:
        ``(M, num_classes)``; the largest is the prediction.
    """
    similarity = F.normalize(queries, dim=1).to(bank.dtype) @ F.normalize(bank, dim=1).T
    nearest, index = similarity.topk(min(k, len(bank)), dim=1)
    votes = (nearest.float() / temperature).exp()
    return votes.new_zeros(len(queries), num_classes).scatter_add_(1, bank_labels[index], votes)


def pooled(feats: tuple[Tensor, ...]) -> Tensor:
    """Average the last of a backbone's outputs ``(B, C, H, W)`` over positions; ``(B, C)`` stays."""
    return feats[-1].mean((2, 3)) if feats[-1].ndim == 4 else feats[-1]


@MODELS.register_module()
class KNNHead(BaseModule):
    """Head of a classifier that compares the pooled last stage with a bank of labelled features.

    :class:`hgkd_mm.hooks.KNNBankHook` fills the bank before a test run.

    Args:
        num_classes: Number of classes.
        k: Neighbours.
        temperature: See :func:`knn_scores`.
    """

    def __init__(self, num_classes: int, k: int = 20, temperature: float = 0.07) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.k = k
        self.temperature = temperature
        self.bank: Tensor | None = None
        self.bank_labels: Tensor | None = None

    def remember(self, features: Tensor, labels: Tensor) -> None:
        """Take labelled features ``(N, C)``, ``(N,)`` as the bank; kept in half precision on GPUs."""
        self.bank = F.normalize(features.float(), dim=1).to(torch.half if features.is_cuda else torch.float)
        self.bank_labels = labels

    def predict(self, feats: tuple[Tensor, ...], data_samples: list[DataSample] | None = None) -> list[DataSample]:
        """Classify a batch.

        Args:
            feats: The backbone's outputs.
            data_samples: Samples to fill; None makes new ones.

        Returns:
            Samples with ``pred_score`` ``(num_classes,)``, summing to 1, and ``pred_label``.

        Raises:
            ConfigError: There is no bank.
        """
        if self.bank is None or self.bank_labels is None:
            raise ConfigError(
                "KNNHead has no features to compare with: add dict(type='hgkd_mm.KNNBankHook', dataloader=...) to "
                'custom_hooks and evaluate with tools/test.py'
            )
        votes = knn_scores(pooled(feats), self.bank, self.bank_labels, self.num_classes, self.k, self.temperature)
        scores = votes / votes.sum(1, keepdim=True)
        samples = data_samples or [DataSample() for _ in scores]
        for sample, score in zip(samples, scores, strict=True):
            sample.set_pred_score(score).set_pred_label(score.argmax(0, keepdim=True))
        return samples
