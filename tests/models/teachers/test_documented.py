"""The table of docs/teachers.md is what is tested."""

import importlib.util
from pathlib import Path

import teacher_references as ref

from hgkd_mm.models.teachers.layouts import identify
from hgkd_mm.utils import insert_block

DOCUMENT = Path(__file__).parents[3] / 'docs/teachers.md'
COLUMNS = ('official or timm', 'mmpretrain', 'Hugging Face', 'OpenAI CLIP')
#: What the weights of a reference network are called; without registers or with, shared positions or not.
FAMILIES = {
    'MAE, iBOT, DINO': ['MAE'],
    'DINOv2': ['DINOv2'],
    'DINOv2 with registers': ['DINOv2 with registers'],
    'CLIP': ['CLIP'],
    'BEiT, BEiT v2': ['BEiT', 'BEiT, shared positions'],
    'CAE': ['CAE'],
    'EVA-02': ['EVA-02 base', 'EVA-02 small'],
    'SimMIM (Swin)': ['SimMIM'],
}


def table() -> str:
    """List families and the layouts in which their tokens are compared."""
    spec = importlib.util.spec_from_file_location('cases', Path(__file__).with_name('test_families.py'))
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    # every network is read back from a training checkpoint of mmpretrain
    tested = {(network, layout) for network, layout, *_ in cases.CASES} | {(n, 'mmpretrain') for n in ref.NETWORKS}
    lines = [
        f'| Weights | mmpretrain backbone | Image mean, std | {" | ".join(COLUMNS)} |',
        '|---|---|---|' + ':-:|' * len(COLUMNS),
    ]
    for family, networks in FAMILIES.items():
        found = identify(ref.weights(ref.NETWORKS[networks[0]]()), family)
        kind = f'`{found.backbone["type"].rpartition(".")[2]}`'
        statistics = {123.675: 'ImageNet', 127.5: '0.5', 122.7709383: "CLIP's"}[found.mean[0]]
        statistics += '; v2: ImageNet' if 'v2' in family and statistics == '0.5' else ''
        marks = ['yes' if all((n, column) in tested for n in networks) else '' for column in COLUMNS]
        lines.append(f'| {family} | {kind} | {statistics} | {" | ".join(marks)} |')
    return '\n'.join(lines)


def test_the_table_lists_what_is_compared():
    expected = insert_block(DOCUMENT, 'families', table())
    assert DOCUMENT.read_text() == expected, f'put this between the markers of {DOCUMENT.name}:\n{table()}'


def test_every_network_is_in_the_table():
    assert sorted(n for networks in FAMILIES.values() for n in networks) == sorted(ref.NETWORKS)
