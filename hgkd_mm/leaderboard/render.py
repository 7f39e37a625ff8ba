"""Write the leaderboard: Markdown, CSV and one self-contained HTML page."""

import base64
import csv
import html
import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import jinja2
import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from ..errors import RecordError
from ..utils import atomic_write, insert_block
from .collect import Row, Table, find_runs, make_tables
from .record import METRICS, primary_metric

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
# Okabe-Ito colours: told apart by colour-blind readers too. Scratch is always grey.
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')
SCRATCH_COLOUR = '#6b7280'


class Built(NamedTuple):
    """Files written, and what is wrong with the records that were left out."""

    files: list[Path]
    problems: list[str]


def build(
    folders: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    pictures: str | os.PathLike | None = None,
    readme: str | os.PathLike | None = None,
) -> Built:
    """Build the leaderboard from the records below some folders, and from nothing else.

    All is rendered before the first file is replaced: after an error the old files are whole.

    Args:
        folders: Searched for ``result.json``.
        out: Folder for ``leaderboard.md``, ``leaderboard.csv`` and ``index.html``.
        pictures: Folder whose PNG files are shown in the page, captioned by their names.
        readme: Markdown file whose block between the ``<!-- leaderboard -->`` and
            ``<!-- /leaderboard -->`` lines is replaced by the table.

    Returns:
        Files written and problems found.

    Raises:
        RecordError: No sound record, or a wrong picture or README.
    """
    out = Path(out)
    found = find_runs(folders)
    tables = make_tables(found.runs)
    table = render_markdown(tables)
    files = {
        out / 'leaderboard.md': f'# Leaderboard\n\n{table}',
        out / 'leaderboard.csv': render_csv(tables),
        out / 'index.html': render_html(tables, out, load_pictures(pictures)),
    }
    if readme is not None:
        files[Path(readme)] = insert_block(Path(readme), 'leaderboard', table)
    for path, text in files.items():
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding='utf-8', newline='')
    return Built(list(files), found.problems)


def render_markdown(tables: Iterable[Table]) -> str:
    """Render one table of all tasks, best rows first, and a line on each task's protocol."""
    head = [
        'Task',
        'Backbone starts from',
        'Pretraining',
        'Fine-tuning',
        'Result',
        'Gain over scratch',
        'Seeds',
    ]
    lines, notes = [_line(head), _line(['---'] * len(head))], []
    for table in tables:
        for row in table.rows:
            results = [f'{_number(row, m)} {_label(table, m)}' for m in table.metrics if m in row.metrics]
            cells = [
                table.task,
                start_name(row),
                pretraining_budget(row) or '–',
                f'{_epochs(table.protocol.epochs)}, {table.protocol.resolution} px',
                ', '.join(results),
                ', '.join(gain for m in table.metrics if (gain := _gain(table, row, m))) or '–',
                str(len(row.runs)),
            ]
            lines.append(_line(map(_cell, cells)))
        networks = ' / '.join(sorted({network_name(row) for row in table.rows}))
        facts = ', '.join(f'{term.lower()} {value}' for term, value in protocol_facts(table))
        notes.append(f'- {table.task}: {_cell(data_name(table))}; {_cell(networks)}; {_cell(facts)}')
    return '\n'.join([*lines, '', 'Rows of a task share everything below:', '', *notes]) + '\n'


def render_csv(tables: Iterable[Table]) -> str:
    """Render every metric of every row as a line of its own."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(
        ['task', 'dataset', 'version', 'fold', 'rank', 'method', 'teacher', 'teacher_layer']
        + ['pretraining_epochs', 'mask_ratio', 'model', 'backbone', 'params', 'epochs']
        + ['batch_size', 'resolution', 'recipe', 'metric', 'mean_percent', 'std_percent']
        + ['gain_over_scratch', 'seeds', 'records']
    )
    for table in tables:
        data, protocol = table.dataset, table.protocol
        for rank, row in enumerate(table.rows, 1):
            pre = row.pretraining
            facts = [pre.teacher, pre.teacher_layer, pre.epochs, pre.mask_ratio] if pre else [None] * 4
            for metric in row.metrics:
                writer.writerow(
                    [table.task, data.name, data.version, data.fold, rank, row.method, *facts]
                    + [row.model.name, row.model.backbone, row.model.params, protocol.epochs]
                    + [protocol.batch_size, protocol.resolution, protocol.recipe, metric]
                    + [_rounded(row.mean(metric)), _rounded(row.std(metric))]
                    + [_rounded(gain.value if (gain := table.gain(row, metric)) else None), len(row.runs)]
                    + [' '.join(run.path.as_posix() for run in row.runs)]
                )
    return stream.getvalue()


def render_html(tables: list[Table], out: Path, pictures: list[tuple[str, str]]) -> str:
    """Render the page.

    Args:
        tables: All tables.
        out: The page's folder; links to records are relative to it.
        pictures: Captions and data URIs.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('hgkd_mm.leaderboard'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [
        {
            'task': table.task,
            'data': data_name(table),
            'images': table.dataset.num_train and table.dataset.num_val,
            'table': table,
            'protocol': protocol_facts(table),
            'labels': [METRICS[table.task][m].label for m in table.metrics],
            'rows': [_html_row(table, row, rank, out) for rank, row in enumerate(table.rows, 1)],
            # Ours, made from numbers and escaped text: safe to insert as it is.
            'curve': Markup(draw_curves(table, f'curve{number}')),
        }
        for number, table in enumerate(tables)
    ]
    records = sum(len(row.runs) for table in tables for row in table.rows)
    return environment.get_template('index.html.j2').render(sections=sections, records=records, pictures=pictures)


def _html_row(table: Table, row: Row, rank: int, out: Path) -> dict:
    return {
        'rank': rank,
        'method': row.method,
        'scratch': row.pretraining is None,
        'teacher': teacher_name(row),
        'pretraining': pretraining_budget(row),
        'network': row.model.name,
        'backbone': f'{row.model.backbone}, {row.model.params / 1e6:.1f} M parameters',
        'cells': [
            {'value': _number(row, m), 'gain': _gain(table, row, m)} if m in row.metrics else None
            for m in table.metrics
        ],
        'records': [
            {
                'link': Path(os.path.relpath(run.path, out)).as_posix(),
                'path': run.path.as_posix(),
                'seed': run.record.seed,
                'value': f'{run.record.value:.1f}',
                'minutes': f'{run.record.cost.wall_time_s / 60:.1f}',
                'device': run.record.cost.device,
                'threads': run.record.cost.threads,
                'created': f'{run.record.created:%Y-%m-%d %H:%M}',
                'config': run.record.config_sha256[:10],
            }
            for run in row.runs
        ],
    }


def draw_curves(table: Table, name: str) -> str:
    """Draw the primary metric over fine-tuning epochs as an SVG element; empty without curves.

    Args:
        table: One line a row, the mean over its seeds; single seeds are drawn thin.
        name: Unique in the page: makes the SVG's internal names unique and reproducible.
    """
    metric = primary_metric(table.task)
    figure = Figure(figsize=(10, 3.3), layout='constrained')
    axes = figure.add_subplot()
    colours = iter(COLOURS * (len(table.rows) // len(COLOURS) + 1))
    drawn = False
    for row in table.rows:
        colour = SCRATCH_COLOUR if row.pretraining is None else next(colours)
        curves = [{p.epoch: p.metrics[metric] for p in run.record.curve} for run in row.runs]
        epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
        if not epochs:
            continue
        drawn = True
        mean = np.mean([[curve[epoch] for epoch in epochs] for curve in curves], axis=0)
        # A dollar sign would start a formula.
        label = start_name(row).replace('$', r'\$')
        axes.plot(epochs, mean, color=colour, linewidth=2, marker='o', markersize=3.5, label=label)
        if len(curves) > 1:
            for curve in curves:
                axes.plot(*zip(*sorted(curve.items()), strict=True), color=colour, alpha=0.35, linewidth=1)
    if not drawn:
        return ''
    if table.chance is not None:
        axes.axhline(table.chance, color='#9ca3af', linestyle=':', linewidth=1.2, label='chance')
    axes.set(xlabel='fine-tuning epoch', ylabel=METRICS[table.task][metric].label)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(color='#e5e7eb', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    # Beside the lines, never over them.
    axes.legend(frameon=False, fontsize=9, loc='upper left', bbox_to_anchor=(1.0, 1.0))
    stream = io.StringIO()
    with matplotlib.rc_context({'svg.hashsalt': name, 'svg.fonttype': 'none'}):
        figure.savefig(stream, format='svg', transparent=True, metadata={'Date': None})
    svg = stream.getvalue()
    svg = svg[svg.index('<svg') :]
    # Element names such as "axes_1" would appear once in every figure of the page.
    return re.sub(r'(<g id=")', rf'\1{name}-', svg)


def load_pictures(folder: str | os.PathLike | None) -> list[tuple[str, str]]:
    """Read a folder's PNG files: captions from their names, contents as data URIs."""
    if folder is None:
        return []
    if not Path(folder).is_dir():
        raise RecordError(f'--pictures {folder}: no such folder')
    pictures = []
    for path in sorted(Path(folder).glob('*.png')):
        content = path.read_bytes()
        if not content.startswith(PNG_SIGNATURE):
            raise RecordError(f'{path}: not a PNG file')
        caption = re.sub(r'^\d+[-_ ]*', '', path.stem).replace('_', ' ').replace('-', ' ')
        uri = 'data:image/png;base64,' + base64.b64encode(content).decode('ascii')
        pictures.append((caption[:1].upper() + caption[1:], uri))
    return pictures


# -- how things are named ---------------------------------------------------------------------


def data_name(table: Table) -> str:
    """Name the data set with its version and fold."""
    data = table.dataset
    version = f' {data.version}' if data.version else ''
    folds = ', '.join(map(str, table.folds))
    return data.name + version + (f', fold{"s" if len(table.folds) > 1 else ""} {folds}' if folds else '')


def teacher_name(row: Row) -> str:
    """Name the teacher and the layer its tokens come from; empty without a teacher."""
    pre = row.pretraining
    if pre is None or not pre.teacher:
        return ''
    return pre.teacher + (f' layer {pre.teacher_layer}' if pre.teacher_layer else '')


def start_name(row: Row) -> str:
    """Say what the backbone's weights come from."""
    teacher = teacher_name(row)
    return f'{row.method} ({teacher})' if teacher else row.method


def network_name(row: Row) -> str:
    """Name network and backbone."""
    return f'{row.model.name}, {row.model.backbone}'


def pretraining_budget(row: Row) -> str:
    """Say how long and how masked pretraining was; empty when there was none."""
    pre = row.pretraining
    if pre is None:
        return ''
    parts = [_epochs(pre.epochs)] if pre.epochs is not None else []
    if pre.mask_ratio is not None:
        parts.append(f'{100 * pre.mask_ratio:g} % masked')
    return ', '.join(parts)


def protocol_facts(table: Table) -> list[tuple[str, str]]:
    """List everything that is equal for all rows of a table."""
    p, budget = table.protocol, table.rows[0].runs[0].record.budget
    facts = [('Fine-tuning', _epochs(p.epochs))]
    if budget.finetuning_images:
        facts.append(('Images seen', f'{budget.finetuning_images:,}'))
    facts += [
        ('Batch', str(p.batch_size)),
        ('Resolution', f'{p.resolution} px'),
        ('Recipe', p.recipe),
    ]
    if p.optimizer:
        facts.append(('Optimizer', f'{p.optimizer}{f", lr {p.lr:g}" if p.lr else ""}'))
    for label, value in (
        ('Schedule', p.schedule),
        ('Augmentation', p.augmentation),
        ('Precision', p.precision),
    ):
        if value:
            facts.append((label, value))
    if table.chance is not None:
        facts.append(('Chance', f'{table.chance:.1f} %'))
    return facts


def _epochs(number: float) -> str:
    return f'{number:g} epoch' + ('' if number == 1 else 's')


def _label(table: Table, metric: str) -> str:
    return METRICS[table.task][metric].label


def _number(row: Row, metric: str) -> str:
    std = row.std(metric)
    return f'{row.mean(metric):.1f}' + (f' ± {std:.1f}' if std is not None else '')


def _gain(table: Table, row: Row, metric: str, over: str = 'from scratch') -> str:
    gain = table.gain(row, metric, over)
    if gain is None:
        return ''
    return f'{gain.value:+.1f}' + (f' (p={gain.p:.2g})' if gain.p is not None else '')


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _cell(text: str) -> str:
    """Escape a Markdown table cell."""
    return html.escape(' '.join(text.split()), quote=False).replace('|', '\\|')


def _line(cells: Iterable[str]) -> str:
    return f'| {" | ".join(cells)} |'
