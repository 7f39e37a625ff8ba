"""The one place where a downstream config names its backbone's weights: ``pretrained = ...``."""

from pathlib import Path

from mmengine.config import Config

from ..errors import ConfigError, WeightsError


def apply_pretrained(cfg: Config) -> None:
    """Let the backbone start from the file in the config's top-level variable ``pretrained``.

    Sets ``model.backbone.init_cfg`` to ``hgkd_mm.StrictPretrained``. None, or no such variable,
    changes nothing: the backbone is initialized as its config says.

    Args:
        cfg: Config of a classifier, detector or segmentor; changed in place.

    Raises:
        ConfigError: The config has no ``model.backbone``.
        WeightsError: The file does not exist.
    """
    checkpoint = cfg.get('pretrained')
    if checkpoint is None:
        return
    backbone = cfg.get('model', {}).get('backbone')
    if backbone is None:
        raise ConfigError(f'pretrained={checkpoint}: this config has no model.backbone to load it into')
    if '://' not in checkpoint and not Path(checkpoint).expanduser().is_file():
        raise WeightsError(
            f'pretrained={checkpoint}: no such file. Export it with tools/export_backbone.py, '
            'or set pretrained=None to train from scratch'
        )
    backbone.init_cfg = dict(type='hgkd_mm.StrictPretrained', checkpoint=checkpoint)
