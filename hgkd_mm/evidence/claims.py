"""What the study has to show; no record enters here."""

from typing import NamedTuple

from ..leaderboard.collect import SCRATCH, SPARK

DENSE = 'dense distillation'


class Claim(NamedTuple):
    """H-GKD minus another start of the same backbone, in points of a metric.

    ``must`` is what has to be reached with p < 0.01 (for 0: not to fall behind), ``aim`` what is hoped for.
    """

    task: str
    metric: str
    over: str
    must: float
    aim: float


CLAIMS = (
    Claim('classification', 'top1', SCRATCH, 8, 15),
    Claim('classification', 'top1', SPARK, 8, 15),
    Claim('classification', 'top1', DENSE, 0, 3),
    Claim('detection', 'box_AP', SCRATCH, 2, 6),
    Claim('detection', 'box_AP', SPARK, 2, 6),
    Claim('detection', 'mask_AP', SCRATCH, 2, 6),
    Claim('detection', 'mask_AP', SPARK, 2, 6),
    Claim('segmentation', 'mIoU', SCRATCH, 2, 6),
    Claim('segmentation', 'mIoU', SPARK, 2, 6),
)
