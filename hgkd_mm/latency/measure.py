"""Export of a backbone to ONNX, proof that it computes the same, timing with ONNX Runtime."""

import os
import statistics
import tempfile
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

from ..engine.resume import newest_checkpoint
from ..errors import ConfigError, WeightsError
from ..leaderboard.facts import backbone_name, processor
from ..leaderboard.record import load_record
from ..transfer.export import fingerprint
from ..transfer.formats import Backbone, write_onnx
from .record import Latency, Timing, load_latency, save_latency

#: Calls that are not counted: the first ones allocate memory and fill caches.
WARM_UP = 10


class Source(NamedTuple):
    """What is timed: the file with the weights, the side of its images in pixels, where the record goes."""

    weights: Path
    resolution: int
    out: Path


def find_source(path: str | os.PathLike, resolution: int | None = None, out: str | os.PathLike | None = None) -> Source:
    """Find the weights and the resolution of a fine-tuned run or a backbone file.

    Args:
        path: Work dir of a fine-tuning with its ``result.json``; or a backbone file or a whole model's checkpoint.
        resolution: Side of the images in pixels; None takes a run's own.
        out: The ``latency.json`` to write; None: beside the weights.

    Raises:
        ConfigError: The resolution is not known.
        RecordError: The run's record is missing or damaged.
        WeightsError: There are no weights.
    """
    path = Path(path)
    if not path.exists():
        raise WeightsError(f'{path} does not exist: expected a work dir with result.json, or a file with weights')
    weights = path
    if path.is_dir():
        found = load_record(path / 'result.json').protocol.resolution
        if resolution is None and not isinstance(found, int):
            raise ConfigError(f'{path}: images of {found} pixels were trained on; say which size to time: --resolution')
        resolution = resolution or int(found)
        checkpoint = newest_checkpoint(path)
        if not checkpoint:
            raise WeightsError(f'{path} has no checkpoint')
        weights = Path(checkpoint)
    if resolution is None:
        raise ConfigError(f'{path} does not say for which images it is; give their side in pixels: --resolution 224')
    return Source(weights, resolution, Path(out) if out else weights.parent / 'latency.json')


def measure_latency(
    source: Source, threads: Iterable[int] = (1,), runs: int = 100, device: str | None = None
) -> Latency:
    """Time a backbone on this device and add that to its record.

    Args:
        source: What is timed, see :func:`find_source`. Timings of other devices in its file are kept.
        threads: Thread counts to time.
        runs: Counted calls.
        device: Its name for people; None: the processor's.

    Returns:
        The record written.

    Raises:
        ConfigError: A number is below 1.
        WeightsError: ONNX Runtime does not compute what PyTorch computes.
        RecordError: The file that is there already is damaged or of another network.
    """
    threads = list(threads)
    if runs < 1 or not threads or min(threads) < 1:
        raise ConfigError(f'runs={runs}, threads={threads}: expected numbers of at least 1')
    backbone = Backbone(source.weights)
    device = device or processor()
    known = load_latency(source.out) if source.out.exists() else None
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder, 'backbone.onnx')
        difference = write_onnx(backbone, graph, source.resolution)
        latency = Latency(
            backbone=backbone_name(backbone.config or {}),
            backbone_params=sum(parameter.numel() for parameter in backbone.build().parameters()),
            resolution=source.resolution,
            weights_sha256=fingerprint(backbone.weights),
            onnx_mib=round(graph.stat().st_size / 2**20, 3),
            max_difference=float(f'{difference:.3g}'),
            timings=[time_graph(graph, source.resolution, count, runs, device) for count in threads],
        )
    if known is not None:
        if known.key != latency.key:
            raise ConfigError(f'{source.out} is of {known.key}, this is {latency.key}: name another file with --out')
        latency = latency.model_copy(update={'timings': known.with_timings(latency.timings).timings})
    save_latency(latency, source.out)
    return latency


def time_graph(graph: str | os.PathLike, resolution: int, threads: int, runs: int, device: str) -> Timing:
    """Time an ONNX graph on one square image.

    Args:
        graph: ``.onnx`` file with the input ``images`` ``(B, 3, H, W)``.
        resolution: Side of the image in pixels.
        threads: Threads of one operator.
        runs: Counted calls.
        device: Name of this machine's processor.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=['CPUExecutionProvider'])
    image = np.random.default_rng(0).standard_normal((1, 3, resolution, resolution), dtype=np.float32)
    seconds = []
    for _ in range(WARM_UP + runs):
        start = time.perf_counter()
        session.run(None, {'images': image})
        seconds.append(time.perf_counter() - start)
    milliseconds = [1000 * second for second in seconds[WARM_UP:]]
    return Timing(
        device=device,
        threads=threads,
        runtime=f'ONNX Runtime {onnxruntime.__version__}',
        provider=session.get_providers()[0],
        median_ms=round(statistics.median(milliseconds), 4),
        p90_ms=round(float(np.percentile(milliseconds, 90)), 4),
        runs=runs,
        created=datetime.now(timezone.utc).replace(microsecond=0),
    )
