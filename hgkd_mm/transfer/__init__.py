"""Export of the student, and strict loading into classifiers, detectors and segmentors."""

from .batchnorm import reestimate_batchnorm
from .checkpoint import install, load_checkpoint_file, state_dict_of
from .distilled import DistilledBackbone
from .export import export_backbone, save_backbone
from .pretrained import apply_pretrained
from .strict import load_strictly

install()

__all__ = [
    'DistilledBackbone',
    'apply_pretrained',
    'export_backbone',
    'load_checkpoint_file',
    'load_strictly',
    'reestimate_batchnorm',
    'save_backbone',
    'state_dict_of',
]
