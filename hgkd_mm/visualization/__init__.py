"""Pictures of what the student learned."""

from .curves import draw_explained_variance
from .predictions import draw_detections, draw_segmentations
from .tokens import draw_tokens

__all__ = ['draw_detections', 'draw_explained_variance', 'draw_segmentations', 'draw_tokens']
