"""Training and evaluation entry points, common to all frameworks."""

from .config import check_data, load_config
from .layer_decay import LayerDecayOptimWrapperConstructor
from .optim import AutocastOptimWrapper
from .sync_batchnorm import DistributedModel
from .test import test
from .train import train

__all__ = [
    'AutocastOptimWrapper',
    'DistributedModel',
    'LayerDecayOptimWrapperConstructor',
    'check_data',
    'load_config',
    'test',
    'train',
]
