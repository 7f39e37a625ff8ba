"""What every pretraining method here shares: a student backbone, a decoder and a head."""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor

from ..errors import ConfigError
from ..registry import MODELS
from ..sparse import PatchMask, make_sparse


class Student(BaseSelfSupervisor):
    """A student CNN with decoder and head; a type without a scope is looked up here first.

    Args:
        backbone: Config of an ordinary CNN of mmpretrain; all stages as outputs.
        neck: Config of the decoder.
        head: Config of the head.
        **kwargs: See mmpretrain's ``BaseSelfSupervisor``.
    """

    def __init__(self, backbone: dict, neck: dict, head: dict, **kwargs) -> None:
        parts = {key: MODELS.build(cfg) for key, cfg in dict(backbone=backbone, neck=neck, head=head).items()}
        super().__init__(**parts, **kwargs)


class MaskedStudent(Student):
    """A student that sees only the visible patches: what H-GKD and SparK share.

    Args:
        backbone: Config of an ordinary CNN of mmpretrain; all stages as outputs.
        neck: Config of the decoder.
        head: Config of the head.
        patch_size: Side of a patch in pixels; a multiple of the backbone's total stride.
        sparse: ``dict(backend='packed')``, ``'spconv'``, ``'masked'`` or ``'zero-filled'``, see
            :func:`hgkd_mm.sparse.make_sparse`.
        **kwargs: See mmpretrain's ``BaseSelfSupervisor``.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        patch_size: int = 32,
        sparse: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(backbone, neck, head, **kwargs)
        self.patch_size = patch_size
        self.sparse_forward = make_sparse(self.backbone, patch_size=patch_size, **(sparse or {}))

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


def teacher_tokens_of(inputs: Tensor, data_samples: list[DataSample]) -> tuple[Any, Any]:
    """Stack what the teacher has put into the data samples of a batch.

    Returns:
        Tokens ``(B, C, h, w)``, and where they mean something, boolean ``(B, h, w)`` or None for everywhere; two lists
        of these if there are several targets.

    Raises:
        ConfigError: No teacher has put tokens into the data samples.
    """
    tokens = [sample.get('teacher_tokens') for sample in data_samples]
    defined = [sample.get('teacher_defined') for sample in data_samples]
    if any(token is None for token in tokens):
        raise ConfigError(
            "no teacher tokens in the data samples: add dict(type='hgkd_mm.TeacherHook', teacher=...) to custom_hooks"
        )
    if isinstance(tokens[0], Tensor):
        return _stack(tokens, inputs.device), _stack(defined, inputs.device)
    each = [None] * len(tokens[0])
    columns = zip(*(marks or each for marks in defined), strict=True)
    return (
        [_stack(column, inputs.device) for column in zip(*tokens, strict=True)],
        [_stack(column, inputs.device) for column in columns],
    )


def _stack(parts: Sequence[Tensor | None], device: torch.device) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.stack(there).to(device) if there else None
