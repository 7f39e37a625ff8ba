"""The ``spconv`` backend: the packed layout, convolutions by the library spconv, on CPUs and CUDA.

Everything but convolutions that look at neighbours is the packed backend's. Grouped convolutions are too: spconv
has none.
"""

from torch import nn

from ..packed import PACKED_LAYERS
from .conv import SpconvConv2d

#: The class that takes an ordinary layer's place.
SPCONV_LAYERS: dict[type[nn.Module], type[nn.Module]] = {**PACKED_LAYERS, nn.Conv2d: SpconvConv2d}

__all__ = ['SPCONV_LAYERS']
