"""What each start of a suite gave."""

from collections.abc import Iterable, Mapping

from ..leaderboard.collect import Row, Table, paired_gain
from ..leaderboard.names import (
    gain_text,
    label_percent,
    markdown_table,
    method_name,
    pretraining_budget,
    protocol_name,
    recipe_hash,
    spread,
    teacher_name,
)
from .axes import AXES, VARIANTS, Arm, Axis, axis_of, find_plain
from .claims import PLAIN
from .measured import PROBES, Suite, quantity


def render_ablations(suite: Suite) -> str:
    """Write a table of starts, and one for every axis on which starts differ from plain H-GKD in that alone.

    There is a column for every probe and for every metric after fine-tuning. A cell has mean and deviation over folds
    and seeds, the number of runs, and the difference to plain H-GKD, with the p of the paired t-test.
    """
    arms = list(_arms(suite.tables).values())
    frozen = _arms(suite.frozen())  # a probe is the same under every protocol
    plain = find_plain(arms) or []
    axes: dict[str, tuple[Axis, list[Arm]]] = {}
    others = []
    for arm in arms:
        axis = axis_of(arm[0][1], plain[0][1]) if plain else None
        if axis is None:
            others.append(arm)
        else:
            axes.setdefault(axis.name, (axis, []))[1].append(arm)
    tables = [_table_of_starts(suite, frozen, others, plain)]
    names = [axis.name for axis in (*AXES, *VARIANTS.values())]
    for name in sorted(axes, key=lambda name: (names.index(name) if name in names else len(names), name)):
        tables.append(_table_of_axis(suite, frozen, *axes[name], plain))
    return '\n'.join(tables)


def _key(row: Row) -> tuple:
    return row.model.backbone, row.start


def _arms(tables: Iterable[Table]) -> dict[tuple, Arm]:
    arms: dict[tuple, Arm] = {}
    for table in tables:
        for row in table.rows:
            arms.setdefault(_key(row), []).append((table, row))
    return arms


def _table_of_starts(suite: Suite, frozen: Mapping[tuple, Arm], arms: Iterable[Arm], plain: Arm) -> str:
    lines = []
    for arm in arms:
        row = arm[0][1]
        start = [method_name(row), teacher_name(row), pretraining_budget(row) + recipe_hash(row), row.model.backbone]
        lines.append([*start, *_cells(suite, frozen, arm, plain)])
    return _markdown(['Start', 'Teacher', 'Pretraining', 'Student'], suite, sorted(lines))


def _table_of_axis(suite: Suite, frozen: Mapping[tuple, Arm], axis: Axis, arms: Iterable[Arm], plain: Arm) -> str:
    lines = []
    for arm in (plain, *arms):
        row = arm[0][1]
        assert row.pretraining is not None
        text = axis.text(row.pretraining, row) + (' (reference)' if arm is plain else '')
        lines.append((axis.fact(row.pretraining, row), [text, *_cells(suite, frozen, arm, plain, any_network=True)]))
    return _markdown([axis.name], suite, [line for _, line in sorted(lines)])


def _columns(suite: Suite) -> list[tuple[Table, str]]:
    return [(table, metric) for table in suite.tables for metric in table.metrics]


def _markdown(head: list[str], suite: Suite, lines: list[list[str]]) -> str:
    """Render lines of ``head`` and :func:`_cells`, without the columns that are empty."""
    head = [*head, *PROBES.values()]
    head += [f'{quantity(metric, label_percent(table))}, {protocol_name(table)}' for table, metric in _columns(suite)]
    used = [number for number in range(len(head)) if any(line[number] for line in lines)]
    return markdown_table([head[n] for n in used], [[line[n] for n in used] for line in lines])


def _cells(suite: Suite, frozen: Mapping[tuple, Arm], arm: Arm, plain: Arm, any_network: bool = False) -> list[str]:
    """Write the probes and metrics of a start; beside plain H-GKD of the same network, or of any."""
    probed, reference = (frozen.get(_key(one[0][1]), []) if one else [] for one in (arm, plain))
    probes = [[_cell(suite, *where, probe, reference, any_network) for where in probed] for probe in PROBES]
    tuned = [
        [_cell(suite, *where, metric, plain, any_network) for where in arm if where[0] is table]
        for table, metric in _columns(suite)
    ]
    return [' / '.join(filter(None, found)) for found in (*probes, *tuned)]


def _cell(suite: Suite, table: Table, row: Row, metric: str, plain: Arm, any_network: bool) -> str:
    ours = suite.values(row, metric)
    if not ours:
        return ''
    known = [other for where, other in plain if where is table] + [other for other in table.rows if PLAIN.fits(other)]
    reference = next((other for other in known if any_network or other.network == row.network), row)
    theirs = {} if reference is row else suite.values(reference, metric)
    gain = f'; {gain_text(paired_gain(ours, theirs), len(ours))}' if theirs else ''
    return f'{spread(ours.values())}, n={len(ours)}{gain}'
