"""One or several teachers, asked as one."""

from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError
from ...registry import MODELS


class TeacherGroup(nn.Module):
    """Asks every teacher and lists their targets: those of the first teacher first, its layers in rising order.

    Args:
        teacher: Config of a teacher, or a list of several.

    Attributes:
        is_single: There is one teacher with one layer given as a number, so one target.
    """

    def __init__(self, teacher: dict | list[dict]) -> None:
        super().__init__()
        configs = [teacher] if isinstance(teacher, dict) else list(teacher)
        if not configs:
            raise ConfigError('TeacherHook: teacher=[] names no teacher')
        self.teachers = nn.ModuleList(MODELS.build(config) for config in configs)
        self.is_single = isinstance(teacher, dict) and self.teachers[0].is_single

    @property
    def token_shapes(self) -> list[tuple[int, int, int]]:
        """Shape (C, h, w) of each target."""
        return [shape for teacher in self._all() for shape in teacher.token_shapes]

    @property
    def device(self) -> Any:
        """Where the teachers are."""
        return next(self.buffers()).device

    def forward(self, inputs: Tensor, visible: Tensor | None = None) -> list[Tensor]:
        """Return the targets (B, C, h, w) of images (B, 3, H, W); see :class:`ViTTeacher`."""
        inputs = inputs.to(self.device)
        targets: list[Tensor] = []
        for teacher in self._all():
            tokens = teacher(inputs, visible)
            targets += [tokens] if isinstance(tokens, Tensor) else tokens
        return targets

    def defined(self, visible: Tensor | None) -> list[Tensor | None]:
        """Say where each target means something: (B, h, w), or None for everywhere."""
        return [part for teacher in self._all() for part in [teacher.defined(visible)] * len(teacher.layers)]

    def _all(self) -> list[Any]:
        return list(self.teachers)
