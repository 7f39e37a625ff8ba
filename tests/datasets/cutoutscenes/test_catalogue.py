from collections import Counter, defaultdict
from pathlib import Path

from hgkd_mm.datasets.cutoutscenes.catalogue import CLASSES, load_catalogue
from hgkd_mm.datasets.cutoutscenes.credits import debian_credits


def test_every_class_has_fifteen_identities_and_backgrounds_are_many():
    _, pictures = load_catalogue()
    identities = defaultdict(set)
    for picture in pictures:
        identities[picture.role].add(picture.identity)
    assert len(CLASSES) == 11 and list(CLASSES) == sorted(CLASSES)
    assert all(len(identities[name]) >= 15 for name in CLASSES)
    assert len(identities['background']) >= 89
    assert {'ball', 'music'} <= set(identities)


def test_views_of_one_object_share_their_identity():
    _, pictures = load_catalogue()
    count = Counter(picture.identity for picture in pictures)
    shared = {name: number for name, number in count.items() if number > 1}
    assert shared == dict({'gnu-baby': 2, 'gnu': 2, 'pig_golden': 2, 'heron_greatblue': 2, 'scissors_small': 2})


def test_every_picture_is_pinned_and_credited():
    packages, pictures = load_catalogue()
    text = debian_credits()
    for picture in pictures:
        package = packages[picture.package]
        assert len(picture.sha256) == 64
        licence = picture.licence or package.licence
        assert licence and licence != 'per picture'
        assert f'`{picture.path.rpartition("!")[2]}`' in text
    assert len({(p.package, p.path) for p in pictures}) == len(pictures)


def test_the_documented_numbers_are_those_of_the_catalogue():
    _, pictures = load_catalogue()
    page = (Path(__file__).parents[3] / 'docs' / 'cutoutscenes.md').read_text()
    for name in CLASSES:
        mine = [picture for picture in pictures if picture.role == name]
        assert f'| {name} | {len(mine)} | {len({p.identity for p in mine})} |' in page
    assert f'Backgrounds: {sum(p.role == "background" for p in pictures)},' in page
