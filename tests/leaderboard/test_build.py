"""All formats of one leaderboard say the same, and nothing in a record can break out of a format."""

import csv
import json
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import modelindex
import pytest
import yaml
from modelindex.load_model_index import load as load_metafile

from hgkd_mm.errors import RecordError
from hgkd_mm.latency.record import Latency, Timing, save_latency
from hgkd_mm.leaderboard.build import build
from hgkd_mm.leaderboard.collect import Gain
from hgkd_mm.leaderboard.formats.latex import escape
from hgkd_mm.leaderboard.names import gain_text

TOOL = Path(__file__).parents[2] / 'tools' / 'leaderboard.py'
EVIL = '<script>alert(1)</script> $x$ | y_z & \\input{q}'


@pytest.fixture
def built(write_record, hgkd, tmp_path):
    """A leaderboard of two tasks."""
    write_record('runs/scratch', 30.0, curve=[10, 20, 30], chance=9.1)
    write_record('runs/scratch1', 31.0, chance=9.1, seed=1)
    write_record('runs/hgkd', 45.04, pretraining=hgkd, curve=[20, 40, 45.04], chance=9.1)
    write_record('runs/hgkd1', 47.04, pretraining=dict(hgkd, seed=1), chance=9.1, seed=1)
    write_record('runs/spark', 31.5, pretraining=dict(method='SparK', epochs=20), chance=9.1)
    write_record('runs/det', 12.0, task='detection')
    build([tmp_path / 'runs'], tmp_path / 'out')
    return tmp_path / 'out'


def _table(text):
    return [[c.strip() for c in line.strip('|').split('|')] for line in text.splitlines() if line.startswith('| ')]


def test_markdown_has_every_row_with_budget_and_gains(built):
    text = (built / 'leaderboard.md').read_text()
    measured, _, reported = text.partition('## Reported elsewhere')
    classification, _, rest = measured.partition('**Detection**: Toy 1, fold 0; ImageClassifier on ResNet-18; ')
    detection, _, cost = rest.partition('Mean ± standard deviation')
    start = ['Backbone starts from', 'Pretraining']
    # scratch 30, 31 against 45.04, 47.04: mean difference 15.54, t = 15.54 / 0.5, one degree of freedom
    assert _table(classification) == [
        [*start, 'top-1 %', 'Gain over scratch', 'Gain over SparK', 'Runs'],
        ['---'] * 6,
        ['H-GKD (vit-s14 layer 9)', '20 epochs, 60 % masked', '46.0 ± 1.4', '+15.5 (p=0.02)', '+13.5 (1 pair)', '2'],
        ['SparK', '20 epochs', '31.5', '+1.5', '–', '1'],
        ['from scratch', '–', '30.5 ± 0.7', '–', '-1.5 (1 pair)', '2'],
    ]
    assert 'chance 9.1 %' in classification
    assert _table(detection) == [
        [*start, 'box AP %', 'mask AP %', 'Runs'],
        ['---'] * 5,
        ['from scratch', '–', '12.0', '12.0', '1'],
    ]
    assert _table(cost)[2:] == [['ResNet-18', '128 px', '11.00 M', '–', 'not measured']]
    assert ['classification', 'ResNet-50', 'H-GKD', 'ImageNet-1k', 'not stated in the abstract', '80.01 top-1 %'] in [
        row[:6] for row in _table(reported)
    ]


def test_markdown_says_what_a_backbone_costs(write_record, tmp_path):
    model = dict(name='C', backbone='ResNet-18', params=11_000_000, backbone_params=10_500_000, backbone_gmacs=0.594)
    write_record('runs/a', model=model)
    created = datetime(2026, 1, 2, tzinfo=timezone.utc)
    timings = [
        Timing(
            device='Pi', threads=threads, runtime='R', provider='P', median_ms=ms, p90_ms=9.0, runs=9, created=created
        )
        for threads, ms in ((1, 3.456), (2, 2.0))
    ]
    latency = Latency(
        backbone='ResNet-18', backbone_params=10_500_000, resolution=128, weights_sha256='a' * 64, onnx_mib=1.0,
        max_difference=0.0, timings=timings,
    )  # fmt: skip
    save_latency(latency, tmp_path / 'runs/a/latency.json')
    build([tmp_path / 'runs'], tmp_path / 'out')
    text = (tmp_path / 'out/leaderboard.md').read_text()
    expected = '| ResNet-18 | 128 px | 10.50 M | 0.59 G | 3.46 ms (Pi, 1 thread), 2.00 ms (Pi, 2 threads) |'
    assert expected in text.splitlines()


@pytest.mark.parametrize(('p', 'text'), [(None, '+2.0'), (0.02, '+2.0 (p=0.02)'), (0.0004, '+2.0 (p<0.001)')])
def test_p_has_no_more_digits_than_it_deserves(p, text):
    assert gain_text(Gain(2.0, 3, p), 3) == text


@pytest.mark.parametrize(
    ('gain', 'text'),
    [
        (Gain(2.0, 1, None), '+2.0 (1 pair)'),
        (Gain(2.0, 0, None), '+2.0 (0 pairs)'),
        (Gain(2.0, 2, 0.02), '+2.0 (p=0.02, 2 pairs)'),
    ],
)
def test_a_gain_of_fewer_pairs_than_runs_says_so(gain, text):
    assert gain_text(gain, 4) == text


def test_csv_and_json_have_every_metric_of_every_row(built):
    with open(built / 'leaderboard.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    expected = [
        ('classification', 'H-GKD', 'top1', 46.04, 15.54, 13.54),
        ('classification', 'SparK', 'top1', 31.5, 1.5, None),
        ('classification', 'from scratch', 'top1', 30.5, None, -1.5),
        ('detection', 'from scratch', 'box_AP', 12.0, None, None),
        ('detection', 'from scratch', 'mask_AP', 12.0, None, None),
    ]
    names = ('mean_percent', 'gain_over_scratch', 'gain_over_spark')
    assert [
        (r['task'], r['method'], r['metric'], *(float(r[name]) if r[name] else None for name in names)) for r in rows
    ] == expected
    content = json.loads((built / 'leaderboard.json').read_text())
    found = [
        (table['task'], row['method'], name, metric['mean'])
        + tuple((metric[f'gain_over_{twin}'] or {}).get('value') for twin in ('scratch', 'spark'))
        for table in content['tables']
        for row in table['rows']
        for name, metric in row['metrics'].items()
    ]
    assert found == expected
    assert content['left_out'] == []


def test_metafile_passes_openmmlabs_own_reader(built):
    index = load_metafile(str(built / 'metafile.yml'))
    index.check(silent=True)
    content = yaml.safe_load((built / 'metafile.yml').read_text())
    assert [m['Name'].partition('_')[0] for m in content['Models']] == [m.name.partition('_')[0] for m in index.models]
    assert len({m['Name'] for m in content['Models']}) == 4
    assert content['Models'][0]['Results'] == [
        {'Task': 'Image Classification', 'Dataset': 'Toy', 'Metrics': {'top-1': 46.04}}
    ]
    assert [(r['Task'], r['Metrics']) for r in content['Models'][3]['Results']] == [
        ('Object Detection', {'box AP': 12.0}),
        ('Instance Segmentation', {'mask AP': 12.0}),
    ]
    assert modelindex  # the package under test by name


def test_model_index_puts_all_tasks_of_a_backbone_into_one_model(built):
    models = yaml.safe_load((built / 'model-index.yml').read_text())['model-index']
    assert [(m['name'], [r['task']['type'] for r in m['results']]) for m in models] == [
        ('resnet-18-h-gkd-vit-s14-layer-9-20-epochs-60-masked', ['image-classification']),
        ('resnet-18-spark-20-epochs', ['image-classification']),
        ('resnet-18-from-scratch', ['image-classification', 'object-detection']),
    ]
    metric = models[0]['results'][0]['metrics'][0]
    assert (metric['type'], metric['value'], metric['args']['runs']) == ('accuracy', 46.04, 2)
    assert models[0]['results'][0]['dataset'] == {'name': 'Toy', 'type': 'toy', 'split': 'validation', 'revision': '1'}


def test_latex_is_escaped_and_has_as_many_cells_as_columns(built):
    text = (built / 'leaderboard.tex').read_text()
    for body, columns in zip(
        re.findall(r'\\toprule\n(.*?)\\bottomrule', text, re.S), re.findall(r'\{tabular\}\{(\w+)\}', text), strict=True
    ):
        lines = [line for line in body.splitlines() if line.endswith(r' \\')]
        assert len(lines) >= 2
        assert {len(re.split(r'(?<!\\)&', line)) for line in lines} == {len(columns)}
    assert r'\textbf{46.0 $\pm$ 1.4}' in text
    assert escape(EVIL) == (
        r'\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{} \$x\$ \textbar{} y\_z \& '
        r'\textbackslash{}input\{q\}'
    )


def test_build_is_reproducible(built, tmp_path):
    before = {path.name: path.read_bytes() for path in built.iterdir()}
    build([tmp_path / 'runs'], built)
    assert {path.name: path.read_bytes() for path in built.iterdir()} == before


def test_names_from_records_cannot_inject_markup(write_record, tmp_path):
    write_record('runs/evil', pretraining=dict(method=EVIL), curve=[1.0], dataset=dict(name=EVIL))
    build([tmp_path / 'runs'], tmp_path)
    page = (tmp_path / 'index.html').read_text()
    assert '<script>alert' not in page
    assert '\\u003cscript\\u003ealert' in page
    markdown = (tmp_path / 'leaderboard.md').read_text()
    assert '<script>' not in markdown
    assert r'\| y' in markdown
    assert yaml.safe_load((tmp_path / 'metafile.yml').read_text())['Collections'][0]['Name'] == EVIL


def test_unsound_record_is_named_everywhere_and_the_rest_is_built(built, tmp_path):
    before = (built / 'leaderboard.csv').read_bytes()
    (tmp_path / 'runs' / 'bad').mkdir()
    (tmp_path / 'runs' / 'bad' / 'result.json').write_text('{"task": 3}')
    done = subprocess.run(
        [sys.executable, str(TOOL), 'build', str(tmp_path / 'runs'), '--out', str(built)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.match(r'left out: .*bad/result.json: schema_version is None', done.stderr)
    assert 'bad/result.json' in (built / 'index.html').read_text()
    assert (built / 'leaderboard.csv').read_bytes() == before


def test_readme_block_is_replaced_and_the_rest_kept(write_record, tmp_path):
    write_record('runs/a')
    readme = tmp_path / 'README.md'
    readme.write_text('# Title\n<!-- leaderboard -->\noutdated\n<!-- /leaderboard -->\nend\n')
    for _ in range(2):
        build([tmp_path / 'runs'], tmp_path / 'out', readme=readme)
    text = readme.read_text()
    assert text.startswith(
        '# Title\n<!-- leaderboard -->\n\n| Backbone starts from | Pretraining | top-1 %, 10 epochs |'
    )
    assert text.endswith('\n<!-- /leaderboard -->\nend\n')
    assert 'outdated' not in text
    assert text.count('- **top-1 %, 10 epochs**: Toy 1, fold 0;') == 1


@pytest.mark.parametrize('text', ['no markers', '<!-- leaderboard -->', '<!-- /leaderboard --><!-- leaderboard -->'])
def test_readme_without_markers_is_an_error_and_stays(text, write_record, tmp_path):
    write_record('runs/a')
    readme = tmp_path / 'README.md'
    readme.write_text(text)
    with pytest.raises(RecordError, match='README.md: expected the markers'):
        build([tmp_path / 'runs'], tmp_path / 'out', readme=readme)
    assert readme.read_text() == text
    assert not (tmp_path / 'out').exists()


def test_file_beside_a_record_that_is_no_picture_is_an_error(write_record, tmp_path):
    folder = write_record('runs/a').parent / 'pictures'
    folder.mkdir()
    (folder / 'fake.png').write_bytes(b'GIF89a')
    with pytest.raises(RecordError, match='fake.png: not a picture'):
        build([tmp_path / 'runs'], tmp_path / 'out')


def test_tool_shows_errors_in_one_line_with_status_2(tmp_path):
    command = [sys.executable, str(TOOL), 'build', str(tmp_path), '--out', str(tmp_path / 'out')]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f'error: no sound result.json below {tmp_path}')
    assert done.stderr.count('\n') == 1
