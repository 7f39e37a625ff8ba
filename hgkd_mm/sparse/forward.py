"""Running a converted backbone under a mask."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..errors import UnsupportedLayerError
from .context import SparseContext
from .mask import PatchMask


class SparseForward:
    """Runs a converted backbone on the visible patches of a batch.

    Obtained from :func:`make_sparse`. Holds no parameters: the backbone stays where the model keeps it.
    """

    def __init__(
        self,
        backbone: nn.Module,
        context: SparseContext,
        backend: str,
        layers: Mapping[type[nn.Module], type[nn.Module]],
    ) -> None:
        self.backbone = backbone
        self.context = context
        self.backend = backend
        self.layers = layers

    def __call__(self, images: Tensor, mask: PatchMask) -> list[Tensor]:
        """Return the stage features, zero at hidden positions.

        Args:
            images: ``(B, 3, H, W)``, in any memory format.
            mask: Patch mask of these images, on their device.

        Returns:
            One ``(B, C_i, H_i, W_i)`` a stage of the backbone.

        Raises:
            MaskError: Mask and images do not fit, or the patch is not a multiple of the network's stride.
            UnsupportedLayerError: The backbone returns something else than maps, or one of its layers was replaced by
                an ordinary one after the conversion.
        """
        mask.check_images(images)
        self._check_layers()
        if self.backend == 'zero-filled':
            return [mask.zero_hidden(feat) for feat in _maps(self.backbone(mask.zero_hidden(images)))]
        with self.context.use(mask):
            if self.backend == 'masked':
                return _maps(self.backbone(mask.zero_hidden(images)))
            return [mask.unpack(tiles) for tiles in _maps(self.backbone(mask.pack(images)))]

    def _check_layers(self) -> None:
        # Such a layer would silently see tiles without neighbours, or hidden positions.
        if any(type(module) in self.layers for module in self.backbone.modules()):
            path, layer = next(item for item in self.backbone.named_modules() if type(item[1]) in self.layers)
            raise UnsupportedLayerError(
                f"layer '{path}' has become an ordinary {type(layer).__name__} since the network was made sparse: "
                "replace layers before; for SyncBatchNorm, build the backbone with norm_cfg=dict(type='SyncBN')"
            )


def _maps(outputs: Any) -> list[Tensor]:
    maps = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    for number, found in enumerate(maps):
        if not isinstance(found, Tensor) or found.dim() != 4:
            what = f'a tensor of {found.dim()} dimensions' if isinstance(found, Tensor) else type(found).__name__
            raise UnsupportedLayerError(
                f'output {number} of the backbone is {what}, not a map (B, C, H, W): '
                'let it return its stages without pooling (ConvNeXt: gap_before_final_norm=False)'
            )
    return maps
