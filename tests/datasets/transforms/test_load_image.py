"""Images at fault are named; sound ones have mmcv's pixels, of whatever kind they are."""

import io
import zlib

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile as Stock
from mmengine.registry import TRANSFORMS
from PIL import Image

from hgkd_mm.datasets.transforms import load_image
from hgkd_mm.datasets.transforms.load_image import LoadImageFromFile
from hgkd_mm.errors import DataError

PHOTO = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)


def jpeg(mode='RGB'):
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).convert(mode).save(buffer, 'JPEG')
    return buffer.getvalue()


def other(kind):
    buffer = io.BytesIO()
    frame = Image.fromarray(PHOTO)
    if kind == 'animated':
        frame.save(buffer, 'WEBP', save_all=True, append_images=[frame.rotate(90)], lossless=True)
    else:
        Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257).save(buffer, 'PNG')
    return buffer.getvalue()


@pytest.mark.parametrize(
    'content',
    [jpeg(), jpeg('L'), jpeg('CMYK'), jpeg() + b'after the end', other('16 bits'), other('animated')],
    ids=['rgb', 'grey', 'cmyk', 'appended', '16 bits', 'animated'],
)
def test_sound_images_have_the_pixels_of_mmcv(content, tmp_path):
    path = tmp_path / 'image'
    path.write_bytes(content)
    ours, stock = (loader({'img_path': str(path)}) for loader in (LoadImageFromFile(), Stock()))
    np.testing.assert_array_equal(ours['img'], stock['img'])
    assert ours['img'].shape == (40, 30, 3) and ours['img'].dtype == np.uint8
    assert ours['img_shape'] == stock['img_shape'] and ours['ori_shape'] == stock['ori_shape']


def bomb():
    # a valid header of 60,000 x 60,000 pixels
    buffer = io.BytesIO()
    Image.new('1', (8, 8)).save(buffer, 'PNG')
    content = bytearray(buffer.getvalue())
    content[16:24] = (60_000).to_bytes(4, 'big') * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, 'big')
    return bytes(content)


@pytest.mark.parametrize(
    ('content', 'fault'),
    [
        (b'', 'empty'),
        (b'not an image', 'no readable image'),
        (jpeg()[:-20], 'cut off'),
        (cv2.imencode('.png', PHOTO)[1].tobytes()[:-30], 'cut off|no readable image'),
        (bomb(), 'pixels'),
        (None, 'does not exist'),
    ],
)
def test_images_at_fault_are_named(content, fault, tmp_path):
    path = tmp_path / 'cat.jpg'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf'cat\.jpg: .*({fault})'):
        LoadImageFromFile()({'img_path': str(path)})
    assert LoadImageFromFile(ignore_empty=True)({'img_path': str(path)}) is None


def test_every_framework_uses_it():
    load_image.install()
    for scope in ('mmcv', 'mmpretrain', 'mmdet', 'mmseg', 'hgkd_mm'):
        built = TRANSFORMS.build(dict(type='LoadImageFromFile', _scope_=scope))
        assert type(built) is load_image.LoadImageFromFile


def test_an_image_in_memory_is_read_once_and_safe_from_writes(tmp_path):
    path = tmp_path / 'image.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)).save(path)
    expected = LoadImageFromFile()({'img_path': str(path)})['img']
    loader = LoadImageFromFile(in_memory=True)
    loader({'img_path': str(path)})['img'][:] = 0
    path.unlink()
    assert np.array_equal(loader({'img_path': str(path)})['img'], expected)
