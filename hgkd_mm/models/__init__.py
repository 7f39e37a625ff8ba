"""H-GKD, its baselines, and what they are made of."""

from .decoder import UNetDecoder
from .dense_distillation import DenseDistillation
from .heads import PixelReconstructionHead, TokenDistillationHead
from .hgkd import HGKD
from .knn_head import KNNHead
from .linear_probe import LinearProbe
from .spark import SparK
from .teachers import ViTTeacher

__all__ = [
    'HGKD',
    'DenseDistillation',
    'KNNHead',
    'LinearProbe',
    'PixelReconstructionHead',
    'SparK',
    'TokenDistillationHead',
    'UNetDecoder',
    'ViTTeacher',
]
