"""Feature distillation without masking: the baseline that shows what masking is worth."""

from mmpretrain.structures import DataSample
from torch import Tensor

from ..registry import MODELS
from .student import Student, teacher_tokens_of


@MODELS.register_module()
class DenseDistillation(Student):
    """The student sees the whole image and predicts the teacher's tokens, with H-GKD's decoder and head."""

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """One training step.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: With ``teacher_tokens`` ``(C, h, w)``.

        Returns:
            Loss terms and figures for the log, see :class:`TokenDistillationHead`.
        """
        tokens, defined = teacher_tokens_of(inputs, data_samples)
        decoded = self.neck(self.backbone(inputs), None)
        return self.head.loss(decoded, tokens, None, defined)
