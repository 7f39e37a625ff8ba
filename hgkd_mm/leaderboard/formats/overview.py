"""All tasks in one table."""

from collections.abc import Sequence

from ..collect import Found, Row, Table
from ..names import (
    cell,
    data_name,
    epochs,
    gain_text,
    label,
    label_percent,
    markdown_table,
    number,
    percent_text,
    pretraining_budget,
    protocol_hash,
    start_name,
)
from ..record import primary_metric
from .markdown import CAUTION, render_backbones, shared_facts


def render_overview(tables: Sequence[Table], found: Found) -> str:
    """Render a line a start and a column a comparison, then what the columns share and what the backbones cost.

    A column is the task's primary metric. A cell has its mean and deviation over runs, their number, and the gain over
    scratch of the same comparison. Lines are in the order of the first column that has them. What a single start was
    put through compares nothing and has no column, unless nothing else is there.
    """
    tables = [table for table in tables if len(table.rows) > 1] or tables
    lines: dict[tuple, dict[int, Row]] = {}
    for column, table in enumerate(tables):
        for row in table.rows:
            lines.setdefault((row.model.backbone, row.start), {}).setdefault(column, row)
    several = len({row.model.backbone for table in tables for row in table.rows}) > 1
    columns = _columns(tables)
    head = ['Student'] * several + ['Backbone starts from', 'Pretraining', *columns]
    body = []
    for cells in lines.values():
        row = next(iter(cells.values()))
        start = [row.model.backbone] * several + [start_name(row), pretraining_budget(row) or '–']
        body.append([*start, *(_cell(table, cells.get(column)) for column, table in enumerate(tables))])
    facts = (
        f'- **{cell(column)}**: {cell(shared_facts(table))}\n' for column, table in zip(columns, tables, strict=True)
    )
    note = f'Mean ± standard deviation over n runs; after the semicolon the mean gain over scratch {CAUTION}\n'
    return '\n'.join([markdown_table(head, body), note, ''.join(facts), render_backbones(tables, found)])


def _columns(tables: Sequence[Table]) -> list[str]:
    """Name each table's primary metric, the share of labels and the epochs; of equal names, data and protocol too."""
    names = []
    for table in tables:
        share = percent_text(label_percent(table))
        metric = label(table, primary_metric(table.task))
        names.append(', '.join(filter(None, [metric, share, epochs(table.protocol.epochs)])))
    return [
        name if names.count(name) == 1 else f'{name}, {data_name(table)}{protocol_hash(table)}'
        for name, table in zip(names, tables, strict=True)
    ]


def _cell(table: Table, row: Row | None) -> str:
    metric = primary_metric(table.task)
    if row is None or metric not in row.metrics:
        return '–'
    runs = len(row.runs)
    return '; '.join(filter(None, [f'{number(row, metric)}, n={runs}', gain_text(table.gain(row, metric), runs)]))
