"""SparK, the baseline without a teacher (arXiv 2301.03580), on the same student and engine."""

from mmpretrain.structures import DataSample
from torch import Tensor

from ..registry import MODELS
from .student import MaskedStudent


@MODELS.register_module()
class SparK(MaskedStudent):
    """The sparse student reconstructs the pixels of the hidden patches."""

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """One training step.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: With ``visible`` ``(Hp, Wp)``.

        Returns:
            ``{'loss': scalar}``.
        """
        mask = self.mask_of(inputs, data_samples)
        decoded = self.neck(self.sparse_forward(inputs, mask), mask)
        return self.head.loss(decoded, inputs, mask)
