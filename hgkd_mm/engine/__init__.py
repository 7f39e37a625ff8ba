"""Training and evaluation entry points, common to all frameworks."""

from .config import check_data, load_config
from .layer_decay import LayerDecayOptimWrapperConstructor
from .loops import ExactEpochLoop, ExactIterLoop
from .optim import AutocastOptimWrapper
from .runner import SafeRunner
from .sync_batchnorm import DistributedModel
from .test import test
from .train import train

__all__ = [
    'AutocastOptimWrapper',
    'DistributedModel',
    'ExactEpochLoop',
    'ExactIterLoop',
    'LayerDecayOptimWrapperConstructor',
    'SafeRunner',
    'check_data',
    'load_config',
    'test',
    'train',
]
