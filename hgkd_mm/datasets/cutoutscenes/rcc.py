"""Reader of Qt resource archives (``.rcc``): one file that holds a tree of files."""

import struct
import zlib
from collections.abc import Iterator

from hgkd_mm.errors import DataError

ZLIB, DIRECTORY, ZSTD = 1, 2, 4
MAX_ENTRIES = 20_000
MAX_FILE_BYTES = 256 << 20


def read_rcc(data: bytes, name: str = 'archive') -> dict[str, bytes]:
    """Return every readable file of a Qt resource archive.

    The layout is big-endian: a header with the places of a node table, a payload area and a name
    table; a node is a folder (its children are consecutive nodes) or a file. Files compressed with
    Zstandard are left out: the archives used here have none.

    Args:
        data: Content of the archive, format version 1 to 3.
        name: Name for error messages.

    Returns:
        Path inside the archive -> content.

    Raises:
        DataError: The bytes are no such archive, or are damaged.
    """
    try:
        return dict(_files(data))
    except (struct.error, zlib.error, UnicodeDecodeError, ValueError) as error:
        raise DataError(f'{name}: not a readable Qt resource archive ({error})') from error


def _files(data: bytes) -> Iterator[tuple[str, bytes]]:
    magic, version, tree, payload, names = struct.unpack_from('>4sIIII', data)
    if magic != b'qres' or version not in (1, 2, 3):
        raise ValueError(f'starts with {magic!r} version {version}, expected qres 1 to 3')
    node_size = 14 if version == 1 else 22  # from version 2 on a node ends with its change time
    stack, seen = [(0, '')], 0
    while stack:
        index, parent = stack.pop()
        seen += 1
        if seen > MAX_ENTRIES:
            raise ValueError(f'more than {MAX_ENTRIES} entries')
        name_at, flags, first, second = struct.unpack_from('>IHII', data, tree + index * node_size)
        length, _ = struct.unpack_from('>HI', data, names + name_at)
        start = names + name_at + 6
        path = parent + data[start : start + 2 * length].decode('utf-16-be') if index else ''
        if flags & DIRECTORY:
            prefix = path + '/' if path else ''
            if first > MAX_ENTRIES:
                raise ValueError(f'folder {path} has {first} entries')
            stack += [(second + child, prefix) for child in range(first)]
        elif not flags & ZSTD:
            yield path, _content(data, payload + second, flags)


def _content(data: bytes, at: int, flags: int) -> bytes:
    (size,) = struct.unpack_from('>I', data, at)
    content = data[at + 4 : at + 4 + size]
    if len(content) != size:
        raise ValueError(f'cut short: {len(content)} of {size} bytes')
    if not flags & ZLIB:
        return content
    (full,) = struct.unpack_from('>I', content)
    if full > MAX_FILE_BYTES:
        raise ValueError(f'a file of {full} bytes')
    inflate = zlib.decompressobj()
    content = inflate.decompress(content[4:], full)
    if len(content) != full:
        raise ValueError(f'unpacks to {len(content)} bytes, expected {full}')
    return content
