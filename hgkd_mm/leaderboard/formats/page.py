"""The leaderboard as one self-contained HTML page: no network, opens from disk.

The table is DataTables out of the package ``itables``, the charts are Plotly; both bundles are inlined. Every text from
a record goes into the page as JSON data and into the document as text nodes, never as markup. A content security
policy forbids every request.
"""

import base64
import importlib.util
import io
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from ...errors import RecordError
from ..collect import SCRATCH, SPARK, Found, Gain, Row, Run, Table, picture_paths
from ..names import (
    data_name,
    method_name,
    place,
    pretraining_budget,
    protocol_facts,
    protocol_name,
    rounded,
    teacher_name,
)
from ..record import METRICS, PretrainingRecord, primary_metric
from ..reported import Reported, state_of

FOLDER = Path(__file__).parents[1] / 'page'
#: Of the kinds of curves in one chart.
DASHES = ('solid', 'dot', 'dash', 'dashdot')
#: Pictures are scaled down to this width in pixels, and the page takes this many bytes of them at most.
PICTURE_WIDTH, PICTURE_BYTES = 1100, 48 * 2**20


def render_page(tables: Sequence[Table], found: Found, reported: Sequence[Reported], out: Path) -> str:
    """Render the page.

    Args:
        tables: All tables.
        found: What was found beside them: pretraining runs, latencies, problems.
        reported: Numbers of publications.
        out: The page's folder; paths of records are shown relative to it.

    Raises:
        RecordError: A picture beside a record is not one.
    """
    pictures = Pictures()
    rows, details = [], []
    for index, table in enumerate(tables):
        for rank, row in enumerate(table.rows, 1):
            rows.append(_row(index, rank, table, row, found))
            # A string each: decoded when the row is opened.
            details.append(json.dumps(_details(table, row, found, pictures, out), ensure_ascii=False))
    content = {
        'comparisons': [
            {'task': table.task, 'data': data_name(table), 'protocol': protocol_name(table)}
            | {'metric': METRICS[table.task][primary_metric(table.task)].label, 'facts': protocol_facts(table)}
            for table in tables
        ],
        'rows': rows,
        'reported': [
            {
                'task': entry.task, 'student': entry.student, 'method': entry.method, 'data': entry.dataset,
                'protocol': entry.protocol, 'metrics': entry.labelled(), 'kind': entry.kind, 'source': entry.source,
                'place': entry.place, 'state': state_of(entry, tables)._asdict(),
            }
            for entry in reported
        ],
        'problems': found.problems,
    }  # fmt: skip
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template('page.html.j2').render(
        records=sum(len(row.runs) for table in tables for row in table.rows),
        several=any(len(row.runs) > 1 for table in tables for row in table.rows),
        content=script_json(content),
        details=script_json(details),
        pictures=script_json(pictures.uris),
        **_bundles(),
        style=Markup((FOLDER / 'page.css').read_text(encoding='utf-8')),
        script=Markup((FOLDER / 'page.js').read_text(encoding='utf-8')),
    )


def script_json(value: object) -> Markup:
    """Write JSON that is safe within a script element: no character in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(',', ':'))
    return Markup(text.replace('<', '\\u003c').replace('>', '\\u003e').replace('&', '\\u0026'))


def _bundles() -> dict[str, Markup]:
    """Read the libraries out of their packages, without importing these."""
    datatables, plotly = _package('itables') / 'html', _package('plotly') / 'package_data'
    script = (datatables / 'dt_bundle.js').read_text(encoding='utf-8')
    # An inline module cannot be imported from; what it would export becomes a global.
    script, count = re.subn(r'export\{[^}]*?(\w+) as jQuery\b[^}]*\}', r'window.jQuery=\1', script)
    if count != 1:
        raise RecordError(
            'itables: its DataTables bundle does not export jQuery as expected; install the locked version'
        )
    texts = {
        'datatables_js': script,
        'datatables_css': (datatables / 'dt_bundle.css').read_text(encoding='utf-8'),
        'plotly_js': (plotly / 'plotly.min.js').read_text(encoding='utf-8'),
    }
    return {name: Markup(text.replace('</script', '<\\/script')) for name, text in texts.items()}


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.origin:
        raise RecordError(f'the page needs the package {name}: pip install {name}')
    return Path(spec.origin).parent


def _row(index: int, rank: int, table: Table, row: Row, found: Found) -> dict[str, Any]:
    metric = primary_metric(table.task)
    return {
        'comparison': index,
        'rank': rank,
        'student': row.model.backbone,
        'network': row.model.name,
        'method': row.method,
        'start': method_name(row),
        'teacher': teacher_name(row),
        'budget': pretraining_budget(row),
        'value': rounded(row.mean(metric)),
        'std': rounded(row.std(metric)),
        'others': [
            [METRICS[table.task][m].label, rounded(row.mean(m)), rounded(row.std(m))]
            for m in row.metrics
            if m != metric and METRICS[table.task][m].shown
        ],
        'scratch': _gain(table.gain(row, metric, SCRATCH)),
        'spark': _gain(table.gain(row, metric, SPARK)),
        'params': row.model.backbone_params or row.model.params,
        'gmacs': row.model.backbone_gmacs,
        'latency': [[place(t), t.median_ms, t.p90_ms] for t in found.latency(row)],
        'runs': len(row.runs),
        'points': [[_label(row, run), rounded(run.record.value)] for run in row.runs],
    }  # fmt: skip


def _gain(gain: Gain | None) -> list[float | None] | None:
    return gain and [rounded(gain.value), gain.p, gain.pairs]


def _details(table: Table, row: Row, found: Found, pictures: 'Pictures', out: Path) -> dict[str, Any]:
    pretrainings = _pretrainings(row, found)
    folders = [one.path.parent for one in pretrainings] + [run.path.parent for run in row.runs]
    return {
        'provenance': _provenance(row, pretrainings),
        'protocol': protocol_facts(table),
        'metrics': [
            [METRICS[table.task][m].label, rounded(row.mean(m)), rounded(row.std(m))] for m in row.metrics
        ],
        'runs': [_run(run, out) for run in row.runs],
        'curves': _curves(table, row, pretrainings),
        'pictures': pictures.add(folders),
    }  # fmt: skip


class _Pretrained(NamedTuple):
    """A pretraining run of a row; ``label`` says of which of the row's runs, if there are several."""

    label: str
    path: Path
    record: PretrainingRecord


def _pretrainings(row: Row, found: Found) -> list[_Pretrained]:
    labels: dict[str, str] = {}
    for run in row.runs:
        sha256 = run.record.pretraining and run.record.pretraining.backbone_sha256
        if sha256 and sha256 in found.pretrainings:
            labels.setdefault(sha256, _label(row, run))
    return [_Pretrained(label if len(labels) > 1 else '', *found.pretrainings[key]) for key, label in labels.items()]


def _provenance(row: Row, pretrainings: list[_Pretrained]) -> list[tuple[str, str]]:
    pre, model = row.pretraining, row.model
    facts: list[tuple[str, Any]] = [('Network', model.name), ('Backbone', model.backbone)]
    facts += [('Parameters', f'{model.params:,}')]
    facts += [('Backbone parameters', model.backbone_params and f'{model.backbone_params:,}')]
    facts += [('Backbone multiply-accumulates', model.backbone_gmacs and f'{model.backbone_gmacs:g} G')]
    facts += [('Backbone starts from', method_name(row))]
    if pre is not None:
        facts += [
            ('Teacher', teacher_name(row)),
            ('Teacher sha256', pre.teacher_sha256),
            ('Pretraining', pretraining_budget(row)),
            ('Images seen in pretraining', pre.images and f'{pre.images:,}'),
            ('Pretraining recipe', pre.recipe_sha256),
        ]
    for run in row.runs:
        if run.record.pretraining and run.record.pretraining.backbone_sha256:
            facts.append((_term('Backbone sha256', _label(row, run)), run.record.pretraining.backbone_sha256))
    for label, _, record in pretrainings:
        cost = [f'{record.cost.wall_time_s / 60:.1f} min']
        cost += [f'{record.cost.images_per_s:.0f} images/s'] if record.cost.images_per_s else []
        facts.append((_term('Pretraining cost', label), ', '.join([*cost, f'{record.cost.device}'])))
    facts.append(('Network config', model.sha256))
    environments: dict[str, list[str]] = {}
    for run in row.runs:
        packages = ', '.join(f'{name} {version}' for name, version in sorted(run.record.environment.items()))
        environments.setdefault(packages, []).append(_label(row, run))
    for packages, labels in environments.items():
        facts.append((_term('Environment', '; '.join(labels) if len(environments) > 1 else ''), packages))
    return [(term, str(value)) for term, value in facts if value]


def _label(row: Row, run: Run) -> str:
    """Say by fold and seed which run of a row it is, by what the row's runs do not share; empty for the only one."""
    parts = []
    if len({other.record.dataset.fold for other in row.runs}) > 1:
        parts.append(f'fold {run.record.dataset.fold}')
    if len({other.record.seed for other in row.runs}) > 1:
        parts.append(f'seed {run.record.seed}')
    return ', '.join(parts)


def _term(text: str, label: str) -> str:
    return f'{text} ({label})' if label else text


def _run(run: Run, out: Path) -> dict[str, Any]:
    record, cost = run.record, run.record.cost
    return {
        'Fold': record.dataset.fold,
        'Seed': record.seed,
        METRICS[record.task][primary_metric(record.task)].label: f'{record.value:.1f}',
        'Minutes': f'{cost.wall_time_s / 60:.1f}',
        'Images/s': cost.images_per_s and f'{cost.images_per_s:.0f}',
        'Peak memory, MiB': cost.peak_memory_mib and f'{cost.peak_memory_mib:,.0f}',
        'Device': f'{cost.device}, {cost.threads} thread{"s" * (cost.threads > 1)}',
        'Created': f'{record.created:%Y-%m-%d %H:%M}',
        'Code': record.code.version
        + (f' {record.code.commit[:10]}' if record.code.commit else '')
        + (' modified' if record.code.modified else ''),
        'Config': record.config_sha256[:10],
        'Checkpoint': record.checkpoint and record.checkpoint.sha256[:10],
        'Record': Path(os.path.relpath(run.path, out)).as_posix(),
    }


def _curves(table: Table, row: Row, pretrainings: list[_Pretrained]) -> list[dict[str, Any]]:
    """Collect the charts of a row: lines with x in epochs."""
    metric = primary_metric(table.task)
    charts = [
        ('Validation', METRICS[table.task][metric].label, [
            _line(_label(row, run), ((p.epoch, p.metrics[metric]) for p in run.record.curve)) for run in row.runs
        ]),
        ('Training loss', 'loss', [
            _line(_label(row, run), ((p.epoch, p.loss) for p in run.record.curve if p.loss is not None))
            for run in row.runs
        ]),
        ('Pretraining loss', 'loss', _kinds(pretrainings, {'': 'loss'})),
        ("Explained variance of the teacher's tokens", 'share', _kinds(
            pretrainings, {'visible': 'explained_variance_visible', 'masked': 'explained_variance_masked'}
        )),
        ('Frozen backbone during pretraining', 'top-1 %', _kinds(
            pretrainings,
            {
                'kNN': 'knn_top1',
                'linear': 'linear_top1',
                "teacher's kNN": 'teacher_knn_top1',
                "teacher's linear": 'teacher_linear_top1',
            },
        )),
    ]  # fmt: skip
    return [
        {'title': title, 'y': y, 'lines': drawn}
        for title, y, lines in charts
        if (drawn := [x for x in lines if x['x']])
    ]


def _kinds(pretrainings: list[_Pretrained], curves: dict[str, str]) -> list[dict[str, Any]]:
    """Draw curves of some kinds by name: a run has one colour, a kind one dash."""
    return [
        _line(f'{kind} {label}'.strip(), one.curves.get(key, ())) | {'colour': colour, 'dash': dash}
        for dash, (kind, key) in zip(DASHES[: len(curves)], curves.items(), strict=True)
        for colour, (label, _, one) in enumerate(pretrainings)
    ]


def _line(name: str, points: Iterable[tuple[float, float | None]]) -> dict[str, Any]:
    listed = list(points)
    return {'name': name, 'x': [x for x, _ in listed], 'y': [y for _, y in listed]}


class Pictures:
    """Pictures of the page, each once."""

    def __init__(self) -> None:
        self.uris: list[dict[str, str]] = []
        self._known: dict[Path, list[int]] = {}
        self._bytes = 0

    def add(self, folders: Iterable[Path]) -> list[int]:
        """Return the numbers of the pictures beside the records in these folders."""
        numbers = []
        for folder in dict.fromkeys(folders):
            if folder not in self._known:
                self._known[folder] = [number for path in picture_paths(folder) for number in self._load(path)]
            numbers += self._known[folder]
        return numbers

    def _load(self, path: Path) -> list[int]:
        try:
            with Image.open(path) as file:
                picture = file.convert('RGB')
        except (UnidentifiedImageError, OSError) as error:
            raise RecordError(f'{path}: not a picture: {error}') from None
        picture.thumbnail((PICTURE_WIDTH, 4 * PICTURE_WIDTH))
        stream = io.BytesIO()
        picture.save(stream, 'WEBP', quality=82)
        if self._bytes + stream.tell() > PICTURE_BYTES:
            return []
        self._bytes += stream.tell()
        caption = re.sub(r'^\d+[-_ ]*', '', path.stem).replace('_', ' ').replace('-', ' ')
        uri = 'data:image/webp;base64,' + base64.b64encode(stream.getvalue()).decode('ascii')
        self.uris.append({'caption': caption[:1].upper() + caption[1:], 'uri': uri})
        return [len(self.uris) - 1]
