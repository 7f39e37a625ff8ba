"""Distances between a predicted and a teacher token; every one is a pure function."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

#: ``(N, C), (N, C) -> (N,)``: one distance a token, by the name a config uses.
TOKEN_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'smooth_l1': lambda prediction, target: F.smooth_l1_loss(prediction, target, reduction='none').mean(-1),
    'mse': lambda prediction, target: F.mse_loss(prediction, target, reduction='none').mean(-1),
    'cosine': lambda prediction, target: 1 - F.cosine_similarity(prediction, target, dim=-1),
}


def token_distribution_divergence(prediction: Tensor, target: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence between the softmax distributions over channels.

    Args:
        prediction: ``(N, C)``.
        target: ``(N, C)``, the teacher's.
        temperature: Softmax temperature; the result is scaled by its square, as in arXiv 1503.02531.

    Returns:
        ``(N,)``.
    """
    log_student = F.log_softmax(prediction / temperature, dim=-1)
    log_teacher = F.log_softmax(target / temperature, dim=-1)
    divergence = F.kl_div(log_student, log_teacher, log_target=True, reduction='none').sum(-1)
    return divergence * temperature**2


def relation_distance(prediction: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
    """Compare how alike the members of each group are: squared difference of the cosine similarities of all pairs.

    Groups are images and members their tokens, or the group is a batch and its members are images (as in arXiv
    1907.09682). The two may have different widths.

    Args:
        prediction: ``(G, M, C)``.
        target: ``(G, M, D)``, the teacher's.
        where: Boolean ``(G, M)``: the members that count; None = all.

    Returns:
        Scalar, the mean over all pairs of different members of a group; zero when there is no pair.
    """
    if where is None:
        where = torch.ones(prediction.shape[:2], dtype=torch.bool, device=prediction.device)
    with torch.autocast(prediction.device.type, enabled=False):
        alike, as_alike = (unit @ unit.mT for unit in (F.normalize(x, dim=-1) for x in (prediction, target)))
    pairs = where[:, :, None] & where[:, None, :]
    pairs = pairs & ~torch.eye(where.shape[1], dtype=torch.bool, device=where.device)
    return mean_over((alike - as_alike).square().flatten(), pairs.flatten())


def mean_over(values: Tensor, where: Tensor) -> Tensor:
    """Mean of ``values`` at ``where``; zero when there is no such place.

    Args:
        values: ``(N,)``.
        where: Boolean ``(N,)``.
    """
    weight = where.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1)


def explained_variance(prediction: Tensor, target: Tensor, where: Tensor) -> Tensor:
    """Share of the targets' variance that the prediction explains: 1 is perfect, 0 is the mean token.

    Args:
        prediction: ``(N, C)``.
        target: ``(N, C)``.
        where: Boolean ``(N,)``: the tokens that count.

    Returns:
        Scalar in ``(-inf, 1]``.
    """
    centre = (target * where[:, None]).sum(0) / where.sum().clamp(min=1)
    residual = mean_over((prediction - target).square().sum(-1), where)
    total = mean_over((target - centre).square().sum(-1), where)
    return 1 - residual / total.clamp(min=torch.finfo(total.dtype).tiny)
