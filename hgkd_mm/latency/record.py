"""The latency record: one network at one resolution, timed on any number of devices.

It is one JSON file, ``latency.json``, beside the ``result.json`` of the run whose backbone it is of. Latency depends on
the architecture and not on the weights, so a leaderboard gives it to every row with the same :attr:`Latency.key`.
"""

import os
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ..leaderboard.record import Count, Sha256, load_sealed, save_record

#: Version of the schema: another one is refused, for its fields mean something else.
LATENCY_VERSION: Literal[1] = 1

Milliseconds = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra='forbid', allow_inf_nan=False, strict=True, frozen=True)


class Timing(_Part):
    """How long one image takes on one device.

    ``median_ms`` and ``p90_ms`` are over ``runs`` calls after some that were not counted.
    """

    device: str
    threads: Annotated[int, Field(ge=1)]
    runtime: str
    provider: str
    median_ms: Milliseconds
    p90_ms: Milliseconds
    runs: Annotated[int, Field(ge=1)]
    created: AwareDatetime

    @property
    def place(self) -> tuple[str, int, str]:
        """What a second measurement replaces: the same device, threads and provider."""
        return self.device, self.threads, self.provider


class Latency(_Part):
    """A backbone's latency at batch 1.

    ``backbone`` and ``backbone_params`` are as in :class:`~hgkd_mm.leaderboard.record.Model`; ``resolution`` is the
    side of the square images in pixels. ``max_difference`` is the largest difference of the exported network's output
    from PyTorch's, relative to the largest value; a network that differs more than a tolerance is not timed at all.
    """

    schema_version: Literal[1] = LATENCY_VERSION
    backbone: str
    backbone_params: Count
    resolution: Annotated[int, Field(gt=0)]
    batch_size: Literal[1] = 1
    precision: Literal['float32'] = 'float32'
    weights_sha256: Sha256
    onnx_mib: Annotated[float, Field(gt=0)]
    max_difference: Annotated[float, Field(ge=0)]
    timings: Annotated[list[Timing], Field(min_length=1)]

    @property
    def key(self) -> tuple[str, int, int]:
        """What a leaderboard row must have in common: backbone, its parameters, resolution."""
        return self.backbone, self.backbone_params, self.resolution

    def with_timings(self, timings: list[Timing]) -> 'Latency':
        """Return a copy with further timings; one of the same device, threads and provider is replaced."""
        new = {timing.place for timing in timings}
        kept = [timing for timing in self.timings if timing.place not in new]
        return self.model_copy(update={'timings': kept + timings})


def load_latency(path: str | os.PathLike) -> Latency:
    """Read and check one ``latency.json``, see :func:`~hgkd_mm.leaderboard.record.load_sealed`."""
    return load_sealed(path, Latency)[0]


def save_latency(latency: Latency, path: str | os.PathLike) -> None:
    """Write a latency record and its seal; the file appears whole or not at all."""
    save_record(latency, path)
