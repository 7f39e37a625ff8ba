"""The catalogue of source pictures: which file of which package plays which role."""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files

CLASSES = (
    'bird', 'coin', 'fish', 'flower', 'fruit', 'household', 'mammal', 'small_creature', 'tool',
    'vegetable', 'vehicle',
)  # fmt: skip
BACKGROUND = 'background'


@dataclass(frozen=True)
class Package:
    """A Debian package with source pictures.

    Attributes:
        name: Package name.
        version: Version whose pictures the catalogue describes.
        sha256: Checksum of that version's ``.deb`` file.
        root: Folder inside the package below which the pictures' paths lie.
        licence: Licence of the pictures that name none of their own.
        credit: Copyright holder of those pictures.
    """

    name: str
    version: str
    sha256: str
    root: str
    licence: str
    credit: str


@dataclass(frozen=True)
class Picture:
    """One source picture.

    Attributes:
        role: A class, another category (unlabelled scenes only), or ``'background'``.
        package: Name of the package it comes from.
        path: Path below the package's root; ``ARCHIVE.rcc!PATH`` is a file inside a Qt archive.
        sha256: Checksum of the picture file.
        identity: Pictures of the same object share it; it never crosses a split. Default: path.
        cut: How to get the object: ``'alpha'`` (as it is), ``'white'`` (cut from a white ground),
            ``'left_half'`` (a sprite sheet of two).
        white: Darkest value of white ground, 0 to 255.
        crop: Part of the picture to use: left, top, right, bottom as fractions of its size.
        licence: Licence, where it differs from the package's.
        credit: Author, where it differs from the package's.
        source: Web page the package names as its origin.
    """

    role: str
    package: str
    path: str
    sha256: str
    identity: str = ''
    cut: str = 'alpha'
    white: int = 228
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    licence: str = ''
    credit: str = ''
    source: str = ''


def load_catalogue() -> tuple[dict[str, Package], list[Picture]]:
    """Read the packages by name, and the pictures, from the package's ``sources.json``."""
    data = json.loads(_text())
    packages = {name: Package(name, **fields) for name, fields in data['packages'].items()}
    pictures = []
    for fields in data['pictures']:
        fields = {'identity': fields['path'].rsplit('.', 1)[0], **fields}
        if 'crop' in fields:
            fields['crop'] = tuple(fields['crop'])
        pictures.append(Picture(**fields))
    return packages, pictures


def catalogue_sha256() -> str:
    """Return the checksum of ``sources.json``: it stands for all pictures, which it pins."""
    return hashlib.sha256(_text().encode()).hexdigest()


def _text() -> str:
    return files(__package__).joinpath('sources.json').read_text(encoding='utf-8')
