"""The leaderboard in Markdown."""

from collections.abc import Sequence

from ..collect import SCRATCH, SPARK, Found, Table
from ..names import (
    cell,
    data_name,
    gain_text,
    label,
    markdown_table,
    number,
    pretraining_budget,
    protocol_facts,
    start_name,
    timing_text,
)
from ..reported import Reported, state_of

#: What a gain's p is, and is worth.
CAUTION = (
    'of the runs that share fold and seed, with p of the paired two-sided t-test. From few runs p is a rough guide, '
    'and over seeds of one fold, or folds whose training images overlap, it looks smaller than it is.'
)
_SHORT = {SCRATCH: 'scratch', SPARK: SPARK}


def render_markdown(tables: Sequence[Table], found: Found) -> str:
    """Render a table a comparison, best rows first, below what its rows share; then what the backbones cost."""
    parts = [_table(table) for table in tables]
    if any(len(row.runs) > 1 for table in tables for row in table.rows):
        parts.append(f'Mean ± standard deviation over runs; gains are mean differences {CAUTION}\n')
    return '\n'.join([*parts, render_backbones(tables, found)])


def _table(table: Table) -> str:
    several = len({row.model.backbone for row in table.rows}) > 1
    twins = [over for over in (SCRATCH, SPARK) if any(table.twin(row, over) for row in table.rows)]
    head = ['Student'] * several + ['Backbone starts from', 'Pretraining']
    head += [label(table, metric) for metric in table.metrics]
    head += [*(f'Gain over {_SHORT[over]}' for over in twins), 'Runs']
    lines = []
    for row in table.rows:
        runs = len(row.runs)
        results = [number(row, metric) if metric in row.metrics else '–' for metric in table.metrics]
        gains = [
            ', '.join(filter(None, (gain_text(table.gain(row, metric, over), runs) for metric in table.metrics))) or '–'
            for over in twins
        ]
        start = [start_name(row), pretraining_budget(row) or '–']
        lines.append([row.model.backbone] * several + [*start, *results, *gains, str(runs)])
    return f'**{table.task.capitalize()}**: {cell(shared_facts(table))}\n\n{markdown_table(head, lines)}'


def shared_facts(table: Table) -> str:
    """Say what all rows of a table share: data, network, protocol."""
    networks = ' / '.join(sorted({f'{row.model.name} on {row.model.backbone}' for row in table.rows}))
    facts = ', '.join(f'{term.lower()} {value}' for term, value in protocol_facts(table))
    return f'{data_name(table)}; {networks}; {facts}'


def render_backbones(tables: Sequence[Table], found: Found) -> str:
    """Render what a forward pass costs; equal for all ways to start."""
    lines: dict[tuple, list[str]] = {}
    for table in tables:
        for row in table.rows:
            model, resolution = row.model, table.protocol.resolution
            timings = ', '.join(map(timing_text, found.latency(row)))
            params = f'{(model.backbone_params or model.params) / 1e6:.2f} M'
            gmacs = f'{model.backbone_gmacs:.2f} G' if model.backbone_gmacs else '–'
            lines[model.backbone, resolution, params] = [
                model.backbone, f'{resolution} px', params, gmacs, timings or 'not measured'
            ]  # fmt: skip
    head = ['Backbone', 'Resolution', 'Parameters', 'Multiply-accumulates', 'Latency of one image']
    return markdown_table(head, lines.values())


def render_reported(reported: Sequence[Reported], tables: Sequence[Table]) -> str:
    """Render the table of numbers from papers and model zoos."""
    head = ['Task', 'Student', 'Method', 'Data', 'Protocol', 'Reported', 'State', 'Source']
    lines = []
    for entry in reported:
        metrics = ', '.join(f'{value:g} {name}' for name, value in entry.labelled())
        state = state_of(entry, tables)
        lines.append(
            [entry.task, entry.student, entry.method, entry.dataset, entry.protocol, metrics, state.text, entry.source]
        )
    return markdown_table(head, lines)
