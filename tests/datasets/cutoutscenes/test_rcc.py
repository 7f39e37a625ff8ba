import struct
import zlib

import pytest

from hgkd_mm.datasets.cutoutscenes.rcc import read_rcc
from hgkd_mm.errors import DataError


def build_rcc(version: int = 2) -> bytes:
    """Write an archive with ``plain.txt``, ``sub/packed.txt`` and a file in Zstandard."""
    names = b''
    places = {}
    for name in ('plain.txt', 'sub', 'packed.txt', 'zstd.txt'):
        places[name] = len(names)
        names += struct.pack('>HI', len(name), 0) + name.encode('utf-16-be')
    packed = struct.pack('>I', 11) + zlib.compress(b'hello world')
    blobs = (b'plain', packed, b'?')
    offsets = (0, 4 + len(blobs[0]), 8 + len(blobs[0]) + len(packed))
    payload = b''.join(struct.pack('>I', len(blob)) + blob for blob in blobs)
    time = b'' if version == 1 else bytes(8)

    def node(name: int, flags: int, first: int, second: int) -> bytes:
        return struct.pack('>IHII', name, flags, first, second) + time

    tree = (
        node(0, 2, 3, 1)
        + node(places['plain.txt'], 0, 0, offsets[0])
        + node(places['sub'], 2, 1, 4)
        + node(places['zstd.txt'], 4, 0, offsets[2])
        + node(places['packed.txt'], 1, 0, offsets[1])
    )
    start = 20 if version < 3 else 24
    header = (start, start + len(tree), start + len(tree) + len(payload))
    head = b'qres' + struct.pack('>4I', version, *header) + (b'' if version < 3 else bytes(4))
    return head + tree + payload + names


@pytest.mark.parametrize('version', [1, 2, 3])
def test_plain_and_packed_files_are_read_with_their_folders(version):
    assert read_rcc(build_rcc(version)) == {'plain.txt': b'plain', 'sub/packed.txt': b'hello world'}


@pytest.mark.parametrize('data', [b'', b'PK\x03\x04' * 9, build_rcc()[:60], build_rcc()[:-70]])
def test_other_or_damaged_files_are_refused_by_name(data):
    with pytest.raises(DataError, match=r'core\.rcc: not a readable Qt resource archive'):
        read_rcc(data, 'core.rcc')


def test_a_folder_that_contains_itself_is_refused():
    data = bytearray(build_rcc())
    struct.pack_into('>I', data, 20 + 2 * 22 + 10, 2)  # first child of 'sub': itself
    with pytest.raises(DataError, match='entries'):
        read_rcc(bytes(data))
