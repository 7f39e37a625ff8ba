"""What a representation is like: its effective rank, its likeness to another one, what neighbours alone would tell."""

import torch
from torch import Tensor


def effective_rank(features: Tensor) -> float:
    """Exponential of the entropy of the singular values: RankMe (arXiv 2210.02885, section 3).

    Args:
        features: ``(N, C)``, not centred.

    Returns:
        In ``[1, min(N, C)]``: k when the features fill k directions evenly; 0 when they are all zero.
    """
    values = torch.linalg.svdvals(features.double())
    total = values.sum()
    if total == 0:
        return 0.0
    return torch.special.entr(values / total).sum().exp().item()


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of two representations of the same examples (arXiv 1905.00414).

    With the unbiased estimate of HSIC (Song et al., JMLR 13, 2012, eq. 5), so that it is about 0 for unrelated
    features also when they are wide and the examples few. The sums over pairs of examples are taken in feature space.

    Args:
        x: ``(N, C)``, N at least 4.
        y: ``(N, D)``.

    Returns:
        At most about 1, which is reached when y is x turned, scaled and shifted; NaN when x or y is constant.

    Raises:
        ValueError: The numbers of examples differ or are below 4.
    """
    if len(x) != len(y) or len(x) < 4:
        raise ValueError(f'CKA compares representations of the same 4 or more examples; found {len(x)} and {len(y)}')
    x, y = (values.double() - values.double().mean(0) for values in (x, y))  # changes nothing but the rounding
    own_x, own_y = _hsic(x, x), _hsic(y, y)
    if own_x <= 0 or own_y <= 0:
        return float('nan')
    return _hsic(x, y) / (own_x * own_y) ** 0.5


def _hsic(x: Tensor, y: Tensor) -> float:
    """Unbiased HSIC of linear kernels without their diagonals, ``K = x x' - diag``, ``L`` likewise."""
    n = len(x)
    diagonal_x, diagonal_y = x.square().sum(1), y.square().sum(1)
    rows_x, rows_y = x @ x.sum(0) - diagonal_x, y @ y.sum(0) - diagonal_y  # K 1 and L 1
    trace = (x.T @ y).square().sum() - diagonal_x @ diagonal_y  # of K L
    total = trace + rows_x.sum() * rows_y.sum() / ((n - 1) * (n - 2)) - 2 * (rows_x @ rows_y) / (n - 2)
    return float(total / (n * (n - 3)))


def nearest_visible(tokens: Tensor, visible: Tensor) -> Tensor:
    """Guess every token by the nearest visible one of its image, another than itself; by the mean of equally near ones.

    What a prediction must beat to know more of an image than that neighbouring tokens are alike.

    Args:
        tokens: ``(B, C, h, w)``.
        visible: Boolean ``(B, h, w)``.

    Returns:
        ``(B, C, h, w)``; zeros where an image has no other visible token.
    """
    batch, channels, height, width = tokens.shape
    places = torch.cartesian_prod(
        torch.arange(height, device=tokens.device), torch.arange(width, device=tokens.device)
    ).view(-1, 2)
    distance = (places[:, None] - places[None]).square().sum(-1)
    far = height**2 + width**2
    distance = distance.fill_diagonal_(far).expand(batch, -1, -1)
    distance = distance.masked_fill(~visible.flatten(1)[:, None], far)
    nearest = distance.amin(-1, keepdim=True)
    weights = ((distance == nearest) & (nearest < far)).to(tokens.dtype)
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1)
    guess = weights @ tokens.flatten(2).transpose(1, 2)
    return guess.transpose(1, 2).reshape(batch, channels, height, width)
