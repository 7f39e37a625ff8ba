"""What can be wrong with an instance's mask in COCO's format: polygons, or run lengths (RLE), plain or compressed."""

import math
from typing import Any


def fault_of_mask(segmentation: Any, width: float, height: float) -> str | None:
    """Say what keeps a mask from being one of its image; None when nothing does, or when there is no mask.

    Args:
        segmentation: Polygons ``[[x1, y1, x2, y2, ...], ...]`` or ``{'size': [height, width], 'counts': ...}``.
        width: Of the image.
        height: Of the image.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        return next((fault for polygon in segmentation if (fault := _fault_of_polygon(polygon))), None)
    if not isinstance(segmentation, dict):
        return f'is a {type(segmentation).__name__}, expected polygons or run lengths'
    size, counts = segmentation.get('size'), segmentation.get('counts')
    if size != [height, width]:
        found = f'{size[1]}x{size[0]}' if isinstance(size, list) and len(size) == 2 else size
        return f'is {found}, its image {width}x{height}'
    lengths = decode_lengths(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not all(type(n) is int and n >= 0 for n in lengths):
        return 'has counts that are no run lengths'
    if sum(lengths) != width * height:
        return f'covers {sum(lengths)} pixels, its image has {width * height}'
    return None


def _fault_of_polygon(polygon: Any) -> str | None:
    if not isinstance(polygon, list) or not all(type(n) in (int, float) and math.isfinite(n) for n in polygon):
        return 'has a polygon that is no list of numbers'
    if len(polygon) % 2 or len(polygon) < 6:
        return f'has a polygon of {len(polygon)} numbers, expected x and y of 3 points or more'
    return None


def sticks_out(segmentation: Any, width: float, height: float) -> bool:
    """Say whether a faultless mask's polygons leave the image by more than a pixel, as rounding does."""
    return isinstance(segmentation, list) and any(
        min(polygon) < -1 or max(polygon[::2]) > width + 1 or max(polygon[1::2]) > height + 1
        for polygon in segmentation
    )


def decode_lengths(text: str) -> list[int] | None:
    """Decode COCO's compressed run lengths.

    Each number is written in groups of 5 bits, lowest first, as characters from ``'0'`` on; bit 6 says that another
    group follows, the highest bit of the last group is the sign. From the fourth on, a number is the difference from
    the last but one.

    Returns:
        The lengths, of which a sound mask's are not negative; None when the text breaks off or has other characters.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64:
            return None
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            value -= (group & 16) << shift - 4
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return None if shift else lengths
