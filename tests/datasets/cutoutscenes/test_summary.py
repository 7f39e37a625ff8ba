"""The table of a data set's numbers against the data set itself."""

import json

import pytest

from hgkd_mm.datasets.cutoutscenes.catalogue import Picture
from hgkd_mm.datasets.cutoutscenes.prepare import prepare_cutoutscenes
from hgkd_mm.datasets.cutoutscenes.summary import summary_table
from hgkd_mm.errors import DataError


def test_the_table_counts_what_is_in_the_folder(source, tmp_path):
    out = prepare_cutoutscenes(tmp_path / 'set', source=source, size=64, train=9, val=4, unlabeled=2, workers=1)
    names = json.loads((out / 'manifest.json').read_text())['classes']
    # two views of one object a class: two cut-outs, one identity
    pictures = [Picture(name, 'p', f'{name}{i}', 'x', identity=name) for name in names for i in range(2)]
    head, _, _, _, *rows, total = summary_table(out, pictures).splitlines()
    assert 'Pictures: 9 train, 4 val, 2 unlabelled' in head
    assert len(rows) == len(names)
    objects = {split: json.loads((out / f'instances_{split}.json').read_text()) for split in ('train', 'val')}
    for label, (name, row) in enumerate(zip(names, rows, strict=True), 1):
        cells = [cell.strip() for cell in row.strip('|').split('|')]
        counts = [sum(a['category_id'] == label for a in objects[s]['annotations']) for s in objects]
        mains = [len(list((out / 'classification' / s / name).glob('*.png'))) for s in objects]
        assert cells[:3] == [name, '2', '1']
        assert cells[4:] == [' / '.join(map(str, mains)), ' / '.join(map(str, counts))]
    assert total.startswith(f'| **all** | {2 * len(names)} | {len(names)} |') and ' | 9 / 4 | ' in total


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r'manifest\.json'):
        summary_table(tmp_path)
    manifest = {'name': 'CutoutScenes', 'schema': 1}
    (tmp_path / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r'manifest\.json: a manifest of schema 1, expected 2: make .* anew'):
        summary_table(tmp_path)
