"""H-GKD, its baselines, and what they are made of."""

from .decoder import UNetDecoder
from .dense_distillation import DenseDistillation
from .heads import PixelReconstructionHead, SeveralTargetsHead, TokenDistillationHead
from .hgkd import HGKD
from .knn_head import KNNHead
from .last_stage_head import LastStageHead
from .linear_probe import LinearProbe
from .spark import SparK
from .teachers import CNNTeacher, RegisterVisionTransformer, ViTTeacher

__all__ = [
    'HGKD',
    'CNNTeacher',
    'DenseDistillation',
    'LastStageHead',
    'KNNHead',
    'LinearProbe',
    'PixelReconstructionHead',
    'RegisterVisionTransformer',
    'SeveralTargetsHead',
    'SparK',
    'TokenDistillationHead',
    'UNetDecoder',
    'ViTTeacher',
]
