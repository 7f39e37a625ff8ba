"""H-GKD on the OpenMMLab stack: pretrain CNN students, transfer them, rank them."""

from mmengine.config import utils as _config_utils

from .compat import mmseg_distribution

__version__ = '0.1.0'

# The maintained mmsegmentation release installs as `onedl-mmsegmentation`. With mmengine's own entry,
# reading an `mmseg::` config would not find it and would pip-install the frozen upstream package.
_config_utils.MODULE2PACKAGE['mmseg'] = mmseg_distribution()
# lets configs inherit `hgkd_mm::detection/...`, also those of an installed wheel
_config_utils.MODULE2PACKAGE['hgkd_mm'] = 'hgkd_mm'

from . import registry, transfer  # noqa: E402, F401  (scope 'hgkd_mm', and loading without unpickling)
