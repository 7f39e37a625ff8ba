"""H-GKD: heterogeneous generative knowledge distillation with masked image modelling (arXiv 2309.09571)."""

import torch
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor

from ..errors import ConfigError
from ..registry import MODELS
from ..sparse import PatchMask, make_sparse


class MaskedStudent(BaseSelfSupervisor):
    """A student CNN that sees only the visible patches: what H-GKD and SparK share.

    Args:
        backbone: Config of an ordinary CNN of mmpretrain; all stages as outputs.
        neck: Config of the decoder.
        head: Config of the head.
        patch_size: Side of a patch in pixels; a multiple of the backbone's total stride.
        sparse_backend: 'packed' or 'masked', see :func:`hgkd_mm.sparse.make_sparse`.
        **kwargs: See mmpretrain's ``BaseSelfSupervisor``.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        patch_size: int = 32,
        sparse_backend: str = 'packed',
        **kwargs,
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        self.patch_size = patch_size
        self.sparse_forward = make_sparse(self.backbone, sparse_backend)

    def mask_of(self, inputs: Tensor, data_samples: list[DataSample]) -> PatchMask:
        """Collect the masks that the pipeline drew into one for the batch.

        Raises:
            ConfigError: The pipeline draws no mask.
        """
        visible = [sample.get('visible') for sample in data_samples]
        if any(mask is None for mask in visible):
            raise ConfigError(
                f"{type(self).__name__} needs a mask a sample: add dict(type='hgkd_mm.RandomPatchMask', ...) to the "
                "training pipeline and algorithm_keys=['visible'] to PackInputs"
            )
        return PatchMask(torch.stack(visible).to(inputs.device), self.patch_size)


@MODELS.register_module()
class HGKD(MaskedStudent):
    """The sparse student predicts, from the visible patches, the tokens of a frozen teacher for all patches.

    The teacher is not here: :class:`hgkd_mm.hooks.TeacherHook` puts its tokens into the data samples, so that
    checkpoints are student-sized and a cached teacher is the same data from another source.
    """

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """One training step.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: With ``visible`` ``(Hp, Wp)`` and ``teacher_tokens`` ``(C, h, w)``.

        Returns:
            Loss terms and figures for the log, see :class:`TokenDistillationHead`.
        """
        tokens = teacher_tokens_of(inputs, data_samples)
        # 1. which patches may the student see?
        mask = self.mask_of(inputs, data_samples)
        # 2. encode these alone
        stage_feats = self.sparse_forward(inputs, mask)
        # 3. mask tokens into the gaps, decode over all stages
        decoded = self.neck(stage_feats, mask)
        # 4. predict every teacher token; compare at masked and visible positions
        return self.head.loss(decoded, tokens, mask)


def teacher_tokens_of(inputs: Tensor, data_samples: list[DataSample]) -> Tensor:
    """Stack the teacher's tokens of a batch: ``(B, C, h, w)``.

    Raises:
        ConfigError: No teacher has put tokens into the data samples.
    """
    tokens = [sample.get('teacher_tokens') for sample in data_samples]
    if any(token is None for token in tokens):
        raise ConfigError(
            "no teacher tokens in the data samples: add dict(type='hgkd_mm.TeacherHook', teacher=...) to custom_hooks"
        )
    return torch.stack(tokens).to(inputs.device)
