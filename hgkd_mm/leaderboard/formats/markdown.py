"""The leaderboard in Markdown."""

from collections.abc import Sequence

from ..collect import SPARK, Table
from ..names import (
    cell,
    data_name,
    epochs,
    gain_text,
    label,
    markdown_table,
    number,
    pretraining_budget,
    protocol_facts,
    start_name,
)
from ..reported import Reported, state_of


def render_markdown(tables: Sequence[Table]) -> str:
    """Render one table of all tasks, best rows first, and a line on each task's protocol."""
    head = ['Task', 'Student', 'Backbone starts from', 'Pretraining', 'Fine-tuning', 'Result', 'Gain over scratch']
    against_spark = any(table.gain(row, m, SPARK) for table in tables for row in table.rows for m in table.metrics)
    head += ['Gain over SparK'] * against_spark + ['Runs']
    lines, notes = [], []
    for table in tables:
        for row in table.rows:
            results = [f'{number(row, m)} {label(table, m)}' for m in table.metrics if m in row.metrics]
            gains = [
                ', '.join(text for m in table.metrics if (text := gain_text(gain(row, m)))) or '–'
                for gain in (table.gain, lambda row, m, table=table: table.gain(row, m, SPARK))[: 1 + against_spark]
            ]
            lines.append(
                [table.task, row.model.backbone, start_name(row), pretraining_budget(row) or '–']
                + [f'{epochs(table.protocol.epochs)}, {table.protocol.resolution} px', ', '.join(results)]
                + [*gains, str(len(row.runs))]
            )
        networks = ' / '.join(sorted({row.model.name for row in table.rows}))
        facts = ', '.join(f'{term.lower()} {value}' for term, value in protocol_facts(table))
        notes.append(f'- {table.task}: {cell(data_name(table))}; {cell(networks)}; {cell(facts)}')
    several = any(len(row.runs) > 1 for table in tables for row in table.rows)
    explained = (
        'Mean ± standard deviation over runs; gains are mean differences of the runs that share fold and seed, with '
        'p of the paired two-sided t-test. '
        if several
        else ''
    )
    return (
        markdown_table(head, lines)
        + f'\n{explained}Rows of a task share everything below:\n\n'
        + '\n'.join(notes)
        + '\n'
    )


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
