"""H-GKD: heterogeneous generative knowledge distillation with masked image modelling (arXiv 2309.09571)."""

from mmpretrain.structures import DataSample
from torch import Tensor

from ..registry import MODELS
from .last_stage_head import WithLastStageHead
from .student import MaskedStudent, teacher_tokens_of


@MODELS.register_module()
class HGKD(WithLastStageHead, MaskedStudent):
    """The sparse student predicts, from the visible patches, the tokens of a frozen teacher for all patches.

    The teacher is not here: :class:`hgkd_mm.hooks.TeacherHook` puts its tokens into the data samples, so that
    checkpoints are student-sized and a cached teacher is the same data from another source.

    Args:
        last_stage_head: Config of a :class:`LastStageHead`; None for none.
        every_stage: See :class:`WithLastStageHead`.
        *args: See :class:`MaskedStudent`.
        **kwargs: See :class:`MaskedStudent`.
    """

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """One training step.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: With ``visible`` ``(Hp, Wp)``, ``teacher_tokens`` ``(C, h, w)`` and, if the teacher does not
                say something about every token, ``teacher_defined`` ``(h, w)``.

        Returns:
            Loss terms and figures for the log, see :class:`TokenDistillationHead`, and ``loss_last_stage``.
        """
        tokens, defined = teacher_tokens_of(inputs, data_samples)
        # 1. which patches may the student see?
        mask = self.mask_of(inputs, data_samples)
        # 2. encode these alone
        stage_feats = self.sparse_forward(inputs, mask)
        # 3. mask tokens into the gaps, decode over all stages
        decoded = self.neck(stage_feats, mask)
        # 4. predict every teacher token; compare at masked and visible positions
        losses = self.head.loss(decoded, tokens, mask, defined)
        return losses | self.stage_losses(stage_feats, tokens, mask, defined)
