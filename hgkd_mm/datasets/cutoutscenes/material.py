"""The material of the scenes: all cut-outs and backgrounds, loaded and shrunk once."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from hgkd_mm.errors import DataError

from .catalogue import BACKGROUND, CLASSES, Picture, load_catalogue
from .cutouts import Cutout, make_cutout
from .folds import FOLDS, assign_folds
from .sources import fetch_pictures

MIN_IDENTITIES = 15
IMAGE_SUFFIXES = {'.png', '.jpg', '.jpeg', '.webp'}


@dataclass(frozen=True)
class Material:
    """What scenes are composed from.

    Attributes:
        classes: Class names in the order of their labels.
        cutouts: Category -> identity -> its cut-outs. Has the classes and other categories.
        backgrounds: Name of the place -> its photographs (RGB).
        folds: Category or ``'background'`` -> identity or name -> fold.
        fingerprint: SHA-256 over names and contents of all pictures.
    """

    classes: tuple[str, ...]
    cutouts: dict[str, dict[str, list[Cutout]]]
    backgrounds: dict[str, list[Image.Image]]
    folds: dict[str, dict[str, int]]
    fingerprint: str


def debian_material(size: int, cache: Path, say: Callable[[str], None] = print) -> Material:
    """Load the catalogue's pictures for scenes of a size, fetching what the cache lacks.

    Args:
        size: Side of the scenes in pixels.
        cache: Folder for downloads; see `fetch_pictures`.
        say: Called with a line for the user before something slow.
    """
    packages, pictures = load_catalogue()
    files: dict[tuple[str, str], Path] = {}
    for name, package in packages.items():
        mine = [picture for picture in pictures if picture.package == name]
        for path, file in fetch_pictures(package, mine, cache, say).items():
            files[name, path] = file
    entries = [(picture, files[picture.package, picture.path]) for picture in pictures]
    return _load(entries, size, CLASSES, MIN_IDENTITIES)


def folder_material(source: Path, size: int) -> Material:
    """Load a user's own pictures.

    Args:
        source: Folder with ``cutouts/<class>/*.png`` (RGBA) and ``backgrounds/*.{jpg,png}``. A
            file name ``NAME__VIEW.png`` says that it shows the object NAME: views of one object
            stay on one side of the split.
        size: Side of the scenes in pixels.

    Raises:
        DataError: A folder is missing or holds too little.
    """
    for folder in (source / 'cutouts', source / 'backgrounds'):
        if not folder.is_dir():
            raise DataError(
                f'{folder}: no such folder; --source wants cutouts/<class>/*.png (RGBA) and backgrounds/*.jpg or *.png'
            )
    entries = []
    folders = sorted(folder for folder in (source / 'cutouts').iterdir() if folder.is_dir())
    classes = tuple(folder.name for folder in folders)
    if not 2 <= len(classes) <= 254 or BACKGROUND in classes:
        raise DataError(
            f'{source / "cutouts"}: {len(classes)} class folders, expected 2 to 254, none called {BACKGROUND}'
        )
    roles = [(folder.name, folder) for folder in folders]
    for role, folder in [*roles, (BACKGROUND, source / 'backgrounds')]:
        for file in sorted(f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            identity = file.stem.partition('__')[0]
            path = str(file.relative_to(source))
            entries.append((Picture(role, '', path, digest, identity), file))
    return _load(entries, size, classes, FOLDS)


def _load(entries: Iterable[tuple[Picture, Path]], size: int, classes: tuple[str, ...], at_least: int) -> Material:
    entries = list(entries)
    names: dict[str, set[str]] = defaultdict(set)
    for picture, _ in entries:
        names[picture.role].add(picture.identity)
    for role in (*classes, BACKGROUND):
        need = FOLDS if role == BACKGROUND else at_least
        if len(names[role]) < need:
            raise DataError(
                f'{role}: {len(names[role])} different pictures or objects, need {need} or more '
                f'(every one of the {FOLDS} folds must get its share): add pictures'
            )
    cutouts: dict[str, dict[str, list[Cutout]]] = defaultdict(lambda: defaultdict(list))
    backgrounds: dict[str, list[Image.Image]] = defaultdict(list)
    for picture, file in entries:
        try:
            with Image.open(file) as image:
                if picture.role == BACKGROUND:
                    photograph = _background(image, picture, size)
                    backgrounds[picture.identity].append(photograph)
                    continue
                if picture.cut == 'alpha' and not image.has_transparency_data:
                    raise ValueError('a cut-out needs an alpha channel')
                cutout = make_cutout(
                    _part(image, picture),
                    picture.role,
                    picture.identity,
                    2 * size,
                    picture.cut,
                    picture.white,
                )
        except (OSError, ValueError, UnidentifiedImageError) as error:
            raise DataError(f'{picture.path}: not a usable picture ({error})') from error
        cutouts[picture.role][picture.identity].append(cutout)
    content = ''.join(sorted(f'{p.role} {p.identity} {p.sha256}\n' for p, _ in entries))
    return Material(
        classes,
        {role: dict(things) for role, things in cutouts.items()},
        dict(backgrounds),
        assign_folds(names),
        hashlib.sha256(content.encode()).hexdigest(),
    )


def _part(image: Image.Image, picture: Picture) -> Image.Image:
    width, height = image.size
    left, top, right, bottom = picture.crop
    return image.crop((int(left * width), int(top * height), int(right * width), int(bottom * height)))


def _background(image: Image.Image, picture: Picture, size: int) -> Image.Image:
    """Load a photograph, cropped, its shorter side at most three times that of a scene."""
    image.draft('RGB', (4 * size, 4 * size))  # JPEG only: decodes a smaller version, much faster
    image = _part(image.convert('RGB'), picture)
    scale = 3 * size / min(image.size)
    if scale < 1:
        wide, high = (max(3 * size, int(side * scale + 0.5)) for side in image.size)
        image = image.resize((wide, high), Image.Resampling.BICUBIC)
    return image
