"""The one place where a downstream config names its backbone's weights: ``pretrained = ...``."""

from pathlib import Path

from mmengine.config import Config

from ..errors import ConfigError, WeightsError


def apply_pretrained(cfg: Config) -> None:
    """Let the backbone start from the file in the config's top-level variable ``pretrained``.

    Sets ``model.backbone.init_cfg`` to ``hgkd_mm.DistilledBackbone``. None, or no such variable,
    changes nothing: the backbone is initialized as its config says. ``torchvision://NAME`` starts from supervised
    weights of a ResNet. The variable ``pretrained_ignore`` lists beginnings of keys of the file that this backbone does
    not have, such as the normalisation of outputs which a classifier does not read.

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
    init_cfg = dict(type='hgkd_mm.DistilledBackbone', checkpoint=checkpoint)
    ignore = list(cfg.get('pretrained_ignore') or [])
    if checkpoint.startswith('torchvision://'):
        ignore.append('fc.')  # they are whole classifiers
    if ignore:
        init_cfg['ignore'] = ignore
    backbone.init_cfg = init_cfg
