import csv
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hgkd_mm.errors import RecordError
from hgkd_mm.leaderboard.render import PNG_SIGNATURE, build

TOOL = Path(__file__).parents[2] / 'tools' / 'leaderboard.py'


@pytest.fixture
def built(write_record, hgkd, tmp_path):
    """A leaderboard of two tasks."""
    write_record('runs/scratch', 30.0, curve=[10, 20, 30], chance=9.1)
    write_record('runs/hgkd', 45.04, pretraining=hgkd, curve=[20, 40, 45.04], chance=9.1)
    write_record('runs/det', 12.0, task='detection')
    build([tmp_path / 'runs'], tmp_path / 'out')
    return tmp_path / 'out'


class _Page(HTMLParser):
    """Collects text, links and ids; complains about unbalanced tags."""

    VOID = {'meta', 'img', 'path', 'br'}

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], ''
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes['id']] if 'id' in attributes else []
        self.links += [attributes['href']] if tag == 'a' else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes['id']] if 'id' in attributes else []

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_markdown_has_every_row_with_budget_and_gain(built):
    rows = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in (built / 'leaderboard.md').read_text().splitlines()
        if line.startswith('| ')
    ]
    assert rows[2:] == [
        ['classification', 'H-GKD (vit-s14 layer 9)', '20 epochs, 60 % masked', '10 epochs, 128 px']
        + ['45.0 top-1 %', '+15.0', '1'],
        ['classification', 'from scratch', '–', '10 epochs, 128 px', '30.0 top-1 %', '–', '1'],
        [
            'detection',
            'from scratch',
            '–',
            '10 epochs, 128 px',
            '12.0 box AP %, 12.0 mask AP %',
            '–',
            '1',
        ],
    ]
    assert 'chance 9.1 %' in (built / 'leaderboard.md').read_text()


def test_csv_has_every_metric_of_every_row(built):
    with open(built / 'leaderboard.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(r['task'], r['method'], r['metric'], r['mean_percent'], r['gain_over_scratch']) for r in rows] == [
        ('classification', 'H-GKD', 'top1', '45.04', '15.04'),
        ('classification', 'from scratch', 'top1', '30.0', ''),
        ('detection', 'from scratch', 'box_AP', '12.0', ''),
        ('detection', 'from scratch', 'mask_AP', '12.0', ''),
    ]


def test_page_is_well_formed_self_contained_and_links_to_its_records(built):
    text = (built / 'index.html').read_text()
    page = _Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r'(src|href)="(http|//)', text.replace('xlink:href', ''))
    records = [link for link in page.links if not link.startswith('#')]
    assert len(records) == 3
    assert all((built / link).is_file() for link in records)
    assert {link[1:] for link in page.links if link.startswith('#')} <= set(page.ids)
    assert text.count('<svg') == 1  # detection has no curve
    assert '+15.0 over scratch' in page.text


def test_build_is_reproducible(built, tmp_path):
    before = {path.name: path.read_bytes() for path in built.iterdir()}
    build([tmp_path / 'runs'], built)
    assert {path.name: path.read_bytes() for path in built.iterdir()} == before


def test_names_from_records_cannot_inject_markup(write_record, tmp_path):
    evil = '<script>alert(1)</script> $x$ | y'
    write_record('runs/evil', pretraining=dict(method=evil), curve=[1.0], dataset=dict(name=evil))
    build([tmp_path / 'runs'], tmp_path)
    assert '<script>' not in (tmp_path / 'index.html').read_text()
    markdown = (tmp_path / 'leaderboard.md').read_text()
    assert '<script>' not in markdown
    assert r'\| y' in markdown


def test_malformed_record_is_named_and_the_rest_is_built(built, tmp_path):
    before = {path.name: path.read_bytes() for path in built.iterdir()}
    (tmp_path / 'runs' / 'bad').mkdir()
    (tmp_path / 'runs' / 'bad' / 'result.json').write_text('{"task": 3}')
    (problem,) = build([tmp_path / 'runs'], built).problems
    assert 'bad/result.json: schema_version is None' in problem
    assert {path.name: path.read_bytes() for path in built.iterdir()} == before


def test_pictures_are_embedded_with_captions_from_their_names(write_record, tmp_path):
    write_record('runs/a')
    (tmp_path / 'pics').mkdir()
    (tmp_path / 'pics' / '02_token_maps.png').write_bytes(PNG_SIGNATURE + b'x')
    build([tmp_path / 'runs'], tmp_path / 'out', pictures=tmp_path / 'pics')
    page = (tmp_path / 'out' / 'index.html').read_text()
    assert '<figcaption>Token maps</figcaption>' in page
    assert 'data:image/png;base64,iVBORw0KGgp4' in page
    (tmp_path / 'pics' / 'fake.png').write_bytes(b'GIF89a')
    with pytest.raises(RecordError, match='fake.png: not a PNG'):
        build([tmp_path / 'runs'], tmp_path / 'out', pictures=tmp_path / 'pics')


def test_readme_block_is_replaced_and_the_rest_kept(write_record, tmp_path):
    write_record('runs/a')
    readme = tmp_path / 'README.md'
    readme.write_text('# Title\n<!-- leaderboard -->\noutdated\n<!-- /leaderboard -->\nend\n')
    for _ in range(2):
        build([tmp_path / 'runs'], tmp_path / 'out', readme=readme)
    text = readme.read_text()
    assert text.startswith('# Title\n<!-- leaderboard -->\n\n| Task |')
    assert text.endswith('\n<!-- /leaderboard -->\nend\n')
    assert 'outdated' not in text
    assert text.count('| Task |') == 1


@pytest.mark.parametrize('text', ['no markers', '<!-- leaderboard -->', '<!-- /leaderboard --><!-- leaderboard -->'])
def test_readme_without_markers_is_an_error_and_stays(text, write_record, tmp_path):
    write_record('runs/a')
    readme = tmp_path / 'README.md'
    readme.write_text(text)
    with pytest.raises(RecordError, match='README.md: expected the markers'):
        build([tmp_path / 'runs'], tmp_path / 'out', readme=readme)
    assert readme.read_text() == text
    assert not (tmp_path / 'out').exists()


def test_tool_shows_errors_in_one_line_with_status_2(tmp_path):
    command = [sys.executable, str(TOOL), 'build', str(tmp_path), '--out', str(tmp_path / 'out')]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f'error: no sound result.json below {tmp_path}')
    assert done.stderr.count('\n') == 1
