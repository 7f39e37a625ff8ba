"""Feature distillation without masking: the baseline that shows what masking is worth."""

from mmpretrain.structures import DataSample
from torch import Tensor

from ..registry import MODELS
from .last_stage_head import WithLastStageHead
from .student import Student, teacher_tokens_of


@MODELS.register_module()
class DenseDistillation(WithLastStageHead, Student):
    """The student sees the whole image and predicts the teacher's tokens, with H-GKD's decoder and head.

    Args:
        last_stage_head: Config of a :class:`LastStageHead`; None for none.
        every_stage: See :class:`WithLastStageHead`.
        *args: See :class:`Student`.
        **kwargs: See :class:`Student`.
    """

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """One training step.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: With ``teacher_tokens`` ``(C, h, w)``.

        Returns:
            Loss terms and figures for the log, see :class:`TokenDistillationHead`, and ``loss_last_stage``.
        """
        tokens, defined = teacher_tokens_of(inputs, data_samples)
        stage_feats = self.backbone(inputs)
        losses = self.head.loss(self.neck(stage_feats, None), tokens, None, defined)
        return losses | self.stage_losses(stage_feats, tokens, None, defined)
