"""What each start of a suite gave."""

from ..leaderboard.collect import Row, Table, paired_gain
from ..leaderboard.names import (
    gain_text,
    markdown_table,
    method_name,
    pretraining_budget,
    protocol_name,
    spread,
    teacher_name,
)
from .claims import PLAIN
from .measured import PROBES, Suite, labels, quantity


def render_ablations(suite: Suite) -> str:
    """Write a table with a line for every start, and a column for every probe and for every metric after fine-tuning.

    A cell has mean and deviation over folds and seeds, the number of runs, and the difference to plain H-GKD, with
    the p of the paired t-test.
    """
    columns = [(table, metric) for table in suite.tables for metric in table.metrics]
    arms: dict[tuple, list[tuple[Table, Row]]] = {}
    for table in suite.tables:
        for row in table.rows:
            # a run that did not see the teacher's file does not know its hash
            pre = row.pretraining and row.pretraining.model_copy(update={'teacher_sha256': None})
            arms.setdefault((row.model.backbone, pre), []).append((table, row))
    lines = []
    for rows in arms.values():
        row = rows[0][1]
        recipe = f' [{row.pretraining.recipe_sha256[:6]}]' if row.pretraining and row.pretraining.recipe_sha256 else ''
        probes = [[_cell(suite, *where, probe) for where in rows] for probe in PROBES]
        tuned = [[_cell(suite, *where, metric) for where in rows if where[0] is table] for table, metric in columns]
        # a probe is the same under every protocol
        cells = [next(filter(None, found), '') for found in (*probes, *tuned)]
        lines.append(
            [method_name(row), teacher_name(row), pretraining_budget(row) + recipe, row.model.backbone, *cells]
        )
    head = ['Start', 'Teacher', 'Pretraining', 'Student', *PROBES.values()]
    head += [f'{quantity(metric, labels(table))}, {protocol_name(table)}' for table, metric in columns]
    return markdown_table(head, sorted(lines))


def _cell(suite: Suite, table: Table, row: Row, metric: str) -> str:
    ours = suite.values(row, metric)
    if not ours:
        return ''
    plain = [other for other in table.rows if PLAIN.fits(other) and other.network == row.network]
    theirs = suite.values(plain[0], metric) if plain and not PLAIN.fits(row) else {}
    gain = f'; {gain_text(paired_gain(ours, theirs))}' if theirs else ''
    return f'{spread(ours.values())}, n={len(ours)}{gain}'
