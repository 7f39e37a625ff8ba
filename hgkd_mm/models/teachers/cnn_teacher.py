"""A frozen CNN in the teacher's place: what is left when the teacher is no generatively pretrained Transformer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import WeightsError
from ...registry import MODELS
from ...transfer.strict import load_strictly
from ...utils import sha256_json
from .teacher import FrozenTeacher
from .weights import checked_sha256, read_backbone, read_json_beside

#: Networks of mmpretrain that can be teachers, and what ``out_indices`` count in them.
STAGES = {'ResNet': 4, 'ConvNeXt': 4, 'MobileNetV2': 8, 'EfficientNet': 7}


@MODELS.register_module()
class CNNTeacher(FrozenTeacher):
    """A frozen CNN whose feature maps are the target tokens.

    ``tools/convert_teacher.py`` makes its weight file, and the JSON file beside it that names the network, from the
    checkpoint of any model of mmpretrain, mmdetection or mmsegmentation whose backbone is a CNN that can be a student::

        teacher = dict(type='hgkd_mm.CNNTeacher', weights='weights/supervised-r18.safetensors', layer=3, img_size=128)

    Args:
        weights: Weight file with its JSON file.
        layer: Stage, 1 = the first, as the network's ``out_indices`` count from 0.
        img_size: See :class:`FrozenTeacher`, as the other arguments.
        sha256: Expected SHA-256 of the weight file; None = that of the JSON file.

    Raises:
        ConfigError: An argument has a wrong value.
        WeightsError: The weight file is missing, is not the expected one, is no CNN's, or does not fit.
    """

    def __init__(
        self,
        weights: str,
        layer: int | Sequence[int] = 3,
        img_size: int = 224,
        sha256: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channel_order: str = 'bgr',
        amp_dtype: str | None = None,
    ) -> None:
        beside = read_json_beside(weights)
        if beside.get('family') != 'cnn':
            found = f'is of {beside.get("name", "something else")}' if beside else 'is missing'
            raise WeightsError(
                f'{weights}: a CNNTeacher needs the JSON file that `python tools/convert_teacher.py CHECKPOINT` writes '
                f'beside the weights of a CNN; it {found}'
            )
        mean, std = mean or beside.get('mean'), std or beside.get('std')
        super().__init__(layer, img_size, mean, std, channel_order, amp_dtype)
        self.sha256 = checked_sha256(weights, sha256 or beside['sha256'])
        kind = str(beside['backbone']['type']).rpartition('.')[2]
        self.check_layers(STAGES[kind], 'the teacher has stages')
        config = {**beside['backbone'], 'out_indices': [number - 1 for number in self.layers]}
        if kind == 'ConvNeXt':
            config['gap_before_final_norm'] = False  # else it gives no maps
        self.network: Any = MODELS.build(config)
        own = self.network.state_dict()
        # ConvNeXt has a norm for each of its ``out_indices``
        state = {key: value for key, value in read_backbone(weights).items() if key in own}
        load_strictly(self.network, state, str(weights))
        description: list[Any] = [self.sha256, beside['backbone'], self.layers, img_size]
        self.fingerprint = sha256_json([*description, *self.statistics, channel_order, amp_dtype])
        self.freeze()
        with torch.no_grad():
            maps = self.network(torch.zeros(1, 3, img_size, img_size))
        self._shapes = [tuple(features.shape[1:]) for features in maps]

    @property
    def token_shapes(self) -> list[tuple[int, int, int]]:
        """Shape (C, h, w) of the features of each stage."""
        return self._shapes

    def encode(self, pixels: Tensor, visible: Tensor | None) -> list[Tensor]:
        """Return the features (B, C, h, w) of each stage."""
        del visible
        return list(self.network(pixels))
