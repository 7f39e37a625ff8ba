"""A classifier over a backbone that does not learn."""

from typing import Any

from mmpretrain.models import ImageClassifier

from ..registry import MODELS


@MODELS.register_module()
class LinearProbe(ImageClassifier):
    """mmpretrain's classifier with its backbone frozen and in evaluation mode, whatever network it is.

    mmpretrain's own ``frozen_stages`` leaves the last convolution of MobileNetV2 and the output norms of ConvNeXt free.

    Args:
        **kwargs: Of ``ImageClassifier``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> 'LinearProbe':
        """Set the mode of all but the backbone."""
        super().train(mode)
        self.backbone.eval()
        return self
