"""The tables of docs/sparse.md are about the networks and variants there are."""

import re
from pathlib import Path

from hgkd_mm.sparse.zoo import REFUSED, ZOO
from hgkd_mm.speed.encoder import available

PAGE = Path('docs/sparse.md').read_text(encoding='utf-8')


def first_column(block: str) -> list[str]:
    body = re.search(rf'<!-- {block} -->(.*)<!-- /{block} -->', PAGE, re.DOTALL)
    rows = [line for line in body[1].splitlines() if line.startswith('| ')]
    return [row.split('|')[1].strip() for row in rows[1:]]


def test_every_network_of_the_zoo_has_its_row_and_no_other():
    assert first_column('speed-backbones') == [*ZOO, *REFUSED]


def test_every_variant_has_its_row():
    assert first_column('speed-encoder') == available('ResNet-50')
    assert first_column('speed-encoder-amp') == available('ResNet-18')
