"""Running a converted backbone under a mask."""

from torch import Tensor, nn

from .context import SparseContext
from .mask import PatchMask


class SparseForward:
    """Runs a converted backbone on the visible patches of a batch.

    Obtained from :func:`make_sparse`. Holds no parameters: the backbone stays where the model keeps it.
    """

    def __init__(self, backbone: nn.Module, context: SparseContext, backend: str) -> None:
        self.backbone = backbone
        self.context = context
        self.backend = backend

    def __call__(self, images: Tensor, mask: PatchMask) -> list[Tensor]:
        """Return the stage features, zero at hidden positions.

        Args:
            images: ``(B, 3, H, W)``, in any memory format.
            mask: Patch mask of these images, on their device.

        Returns:
            One ``(B, C_i, H_i, W_i)`` a stage of the backbone.

        Raises:
            MaskError: Mask and images do not fit, or the patch is not a multiple of the network's stride.
        """
        mask.check_images(images)
        with self.context.use(mask):
            if self.backend == 'masked':
                return list(self.backbone(mask.zero_hidden(images)))
            return [mask.unpack(tiles) for tiles in self.backbone(mask.pack(images))]
