"""A batch of any of the frameworks as plain data, so that a file of it can be read without running code."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement

from ..errors import WeightsError

#: What a stored batch may be built of, and where it is imported from.
_ELEMENTS = {
    'DataSample': 'mmpretrain.structures',
    'DetDataSample': 'mmdet.structures',
    'SegDataSample': 'mmseg.structures',
    'InstanceData': 'mmengine.structures',
    'PixelData': 'mmengine.structures',
    'LabelData': 'mmengine.structures',
}
_KIND = '__kind__'


def pack(value: Any) -> Any:
    """Turn a batch into dicts, lists, tensors and plain values; what is none of these becomes its text."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, BaseDataElement):
        parts = {'meta': pack(dict(value.metainfo_items())), 'data': pack(dict(value.items()))}
        return {_KIND: type(value).__name__, **parts}
    if type(value).__name__ == 'BitmapMasks':
        masks = torch.from_numpy(np.ascontiguousarray(value.masks))
        return {_KIND: 'BitmapMasks', 'masks': masks, 'size': [value.height, value.width]}
    if type(value).__name__ == 'HorizontalBoxes':
        return {_KIND: 'HorizontalBoxes', 'boxes': value.tensor.detach().cpu()}
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        return {_KIND: 'array', 'values': torch.from_numpy(np.ascontiguousarray(value))}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): pack(item) for key, item in value.items()}
    if isinstance(value, list):
        return [pack(item) for item in value]
    if isinstance(value, tuple):
        return {_KIND: 'tuple', 'items': [pack(item) for item in value]}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def unpack(value: Any) -> Any:
    """Build a batch from what :func:`pack` made.

    Raises:
        WeightsError: It holds a kind of thing that batches are not made of.
    """
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind is None:
        return {key: unpack(item) for key, item in value.items()}
    if kind == 'tuple':
        return tuple(unpack(value['items']))
    if kind == 'array':
        return value['values'].numpy()
    if kind == 'BitmapMasks':
        from mmdet.structures.mask import BitmapMasks

        return BitmapMasks(value['masks'].numpy(), *value['size'])
    if kind == 'HorizontalBoxes':
        from mmdet.structures.bbox import HorizontalBoxes

        return HorizontalBoxes(value['boxes'])
    if kind not in _ELEMENTS:
        raise WeightsError(f'a stored batch holds a {kind!r}, expected one of {sorted(_ELEMENTS)}')
    element = getattr(importlib.import_module(_ELEMENTS[kind]), kind)(metainfo=unpack(value['meta']))
    for name, item in unpack(value['data']).items():
        element.set_field(item, name, dtype=None)
    return element
