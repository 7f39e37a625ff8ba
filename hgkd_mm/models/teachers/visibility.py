"""Which tokens of a teacher lie in the patches that a student sees."""

import torch
from torch import Tensor


def visible_tokens(visible: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bring a mask of patches to a grid of tokens of another size over the same image.

    A token counts as visible if all of its area is in visible patches: not one hidden pixel is in it. Patch and token
    need not divide each other (32 px over 14 px).

    Args:
        visible: Boolean ``(B, Hp, Wp)``, True where the student may see the patch.
        grid: Rows and columns ``(h, w)`` of tokens.

    Returns:
        Boolean ``(B, h, w)``.
    """
    rows = _overlap(grid[0], visible.shape[1], visible.device)
    columns = _overlap(grid[1], visible.shape[2], visible.device)
    return rows @ (~visible).float() @ columns.T == 0


def _overlap(tokens: int, patches: int, device: torch.device) -> Tensor:
    """Say whether token ``i`` of a side touches patch ``j``: 0 or 1 ``(tokens, patches)``."""
    token, patch = (torch.arange(count, device=device) for count in (tokens, patches))
    # token i is [i/tokens, (i+1)/tokens), patch j likewise; compared as whole numbers
    begins_before = token[:, None] * patches < (patch[None, :] + 1) * tokens
    ends_after = (token[:, None] + 1) * patches > patch[None, :] * tokens
    return (begins_before & ends_after).float()
