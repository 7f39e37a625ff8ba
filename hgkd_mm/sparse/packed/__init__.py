"""The ``packed`` backend: the ordinary layers on the visible patches only.

Maps are ``(V, C, P, P)``, one tile a visible patch. A layer's zero padding becomes a halo read from the visible
neighbour patches; hidden and off-image neighbours contribute nothing. Batch normalisation over ``(V, P, P)`` *is*
the sparse batch normalisation, so norms and activations run unchanged.
"""

from .conv import PackedConv2d
from .geometry import LAYER_GEOMETRY
from .pool import PackedMaxPool2d

__all__ = ['LAYER_GEOMETRY', 'PackedConv2d', 'PackedMaxPool2d']
