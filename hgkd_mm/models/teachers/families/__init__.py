"""The architectures a teacher can have, one module each."""

from .beit import BEIT
from .eva02 import EVA02
from .family import IMAGENET_MEAN, IMAGENET_STD, Description, Family, Hints
from .swin import SWIN
from .vit import VIT

#: The more special first: each says by itself whether weights are its own.
FAMILIES: tuple[Family, ...] = (SWIN, EVA02, BEIT, VIT)

#: What ``--family`` can say: weights do not tell these apart, or not always, and their input statistics differ.
FAMILY_NAMES = ('MAE', 'iBOT', 'DINO', 'DINOv2', 'CLIP', 'BEiT', 'BEiT v2', 'CAE', 'EVA-02', 'SimMIM')

__all__ = ['FAMILIES', 'FAMILY_NAMES', 'IMAGENET_MEAN', 'IMAGENET_STD', 'Description', 'Family', 'Hints']
