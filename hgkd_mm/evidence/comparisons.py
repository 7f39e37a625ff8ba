"""The claims beside what the records say."""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from ..leaderboard.collect import SCRATCH, Row, Table, Values, fold_differences, paired_differences
from ..leaderboard.compare import over_identities
from ..leaderboard.names import data_name, label_percent, markdown_table, pretraining_budget, protocol_hash, spread
from ..leaderboard.record import METRICS, primary_metric
from ..statistics.bootstrap import Interval
from ..statistics.holm import holm
from ..statistics.paired import paired_interval, paired_p, sign_flip_p
from ..visualization.forest import Difference
from .claims import CLAIMS, EQUAL, FIRST_CHOICE, LESS, OWED_TO, STUDY, Claim, Start
from .equal_time import pretraining_seconds, twin_of_equal_epochs, twin_of_equal_time, twin_of_less_time
from .longer import longer_scratch
from .measured import Suite, quantity

NAMED = ['Metric', 'Minus', 'Must / aim', 'Reached']
P_VALUES = ['p', 'p, folds', 'p, Holm']
HEAD = [*NAMED, 'Difference', '95 % interval', 'n', *P_VALUES, 'p, signs']
HEAD += ['Ours (epochs)', 'Theirs (epochs)', 'Other objects', 'On']
ANSWER_HEAD = [*NAMED, 'Result (95 % interval)', 'n', *P_VALUES, 'Epochs', 'Epochs of the other']


def _is_sure(p: float | None) -> bool:
    return p is not None and p < 0.01


class Comparison(NamedTuple):
    """Two rows that a claim is about (one, of a number that stands for itself) and what was measured of them.

    ``adjusted`` is p after Holm's method, over all that was compared with it.
    """

    claim: Claim
    table: Table
    row: Row
    twin: Row | None
    ours: Values
    theirs: Values
    differences: list[float]
    adjusted: float | None = None

    @property
    def p(self) -> float | None:
        """Of the paired t-test; None for a number that stands for itself, which is no difference."""
        return paired_p(self.differences) if self.claim.over else None

    @property
    def p_folds(self) -> float | None:
        """The same with a fold's seeds averaged first: they share its images, so they are no pairs of their own."""
        return paired_p(fold_differences(self.ours, self.theirs)) if self.claim.over else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean difference; None of one pair."""
        return paired_interval(self.differences)

    @property
    def identities(self) -> Interval | None:
        """Bootstrap over identities, of a task's primary metric and of runs that kept their predictions."""
        primary = self.claim.metric == primary_metric(self.claim.task)
        return over_identities(self.row, self.twin) if self.twin and primary else None

    @property
    def reached(self) -> str:
        """What was reached; nothing where one pair of runs, or no wish, leaves it open."""
        claim, interval, mean = self.claim, self.interval, fmean(self.differences)
        if interval is None:
            return ''
        if claim.noise:
            return 'yes' if interval[0] <= 0 <= interval[1] else 'no'
        if claim.must is None or claim.aim is None:
            return ''
        sure = not claim.over or _is_sure(self.p)
        if sure and mean >= claim.aim:
            return 'aim'
        return 'must' if mean >= claim.must and (sure or claim.must == 0) else 'no'


def judged(suites: Sequence[Suite]) -> list[Suite]:
    """Return the study alone; while there is none, all suites."""
    return [suite for suite in suites if suite.name == STUDY] or list(suites)


def find(suites: Iterable[Suite], claims: Sequence[Claim] = CLAIMS) -> list[Comparison]:
    """Find what the records say about each claim: every row that starts so, with its twin of the same protocol."""
    suites = list(suites)
    found = [one for claim in claims for suite in suites for one in _find(suite, claim)]
    adjusted = iter(holm([one.p for one in found if one.p is not None]))
    return [one if one.p is None else one._replace(adjusted=next(adjusted)) for one in found]


def _find(suite: Suite, claim: Claim) -> Iterable[Comparison]:
    probe = claim.metric not in METRICS[claim.task]  # the same under every protocol, however many labels that had
    tables = suite.frozen() if probe else [table for table in suite.tables if label_percent(table) == claim.labels]
    for table in tables:
        if not probe and table.task != claim.task:
            continue
        for row in sorted(filter(claim.ours.fits, table.rows), key=lambda row: pretraining_seconds(row) or 0):
            twin = _twin(tables, table, row, claim)
            ours, theirs = suite.values(row, claim.metric), suite.values(twin, claim.metric) if twin else {}
            differences = paired_differences(ours, theirs) if claim.over else list(ours.values())
            if not differences:
                continue
            yield Comparison(claim, table, row, twin, ours, theirs, differences)


def _twin(tables: Iterable[Table], table: Table, row: Row, claim: Claim) -> Row | None:
    if claim.over is None:
        return None
    if claim.budget == 'equal epochs':
        return twin_of_equal_epochs(table, row, claim.over)
    if claim.budget == LESS:
        return twin_of_less_time(table, row, claim.over)
    if claim.over != Start(SCRATCH):
        return twin_of_equal_time(table, row, claim.over)
    if claim.budget == EQUAL:
        return table.twin(row, SCRATCH)
    return longer_scratch(tables, table, row, claim)


def render_comparisons(found: Sequence[Comparison], claims: Sequence[Claim] = CLAIMS) -> str:
    """Write a table for each start that is "ours", with a line for every comparison; 'no run yet' where there is none.

    What must be reached comes first. ``p`` is of the paired t-test over folds and seeds, then with the seeds of a fold
    averaged, then adjusted by Holm's method over the lines of all tables that have one, then that of the exact
    sign-flip test. The interval is Student's t over the pairs; that of other objects is the bootstrap over identities.
    """
    return _tables(found, claims, HEAD, cells_of)


def render_answers(found: Sequence[Comparison], claims: Sequence[Claim] = CLAIMS) -> str:
    """Write, in narrow tables, what came of all that something is asked of, but of the first choice, and why it did.

    A result is the mean difference, of a number that stands for itself the mean. Below stands how many lines that were
    reached would have been by each of the other two p.
    """
    asked = [claim for claim in claims if claim.ours != FIRST_CHOICE and (claim.must is not None or claim.noise)]
    asked += [claim for claim in claims if claim in OWED_TO]
    tables = _tables(found, asked, ANSWER_HEAD, _answer)
    sure = [one for one in found if one.claim in asked and one.reached in ('must', 'aim') and _is_sure(one.p)]
    if not sure:
        return tables
    folds, adjusted = sum(_is_sure(one.p_folds) for one in sure), sum(_is_sure(one.adjusted) for one in sure)
    return (
        f'{tables}\nOf the lines above, {len(sure)} reach *must* or *aim* with p below a hundredth: {folds} of them '
        f"have such a p with the seeds of a fold averaged first, {adjusted} after Holm's method.\n"
    )


def _tables(
    found: Sequence[Comparison],
    claims: Iterable[Claim],
    head: list[str],
    cells_of: Callable[[Comparison], dict[str, str]],
) -> str:
    """Write a table for each start that is "ours"."""
    parts = []
    for ours, about in _by_start(claims).items():
        lines = []
        for claim in about:
            some = [cells_of(one) for one in found if one.claim is claim]
            unknown = dict(zip(NAMED, [*_name(claim), _wanted(claim), 'no run yet'], strict=True))
            lines += [[cells.get(column, '') for column in head] for cells in some or [unknown]]
        parts.append(f'**{ours}**, minus another start:\n\n{markdown_table(head, lines)}')
    return '\n'.join(parts)


def forest(found: Sequence[Comparison], claims: Sequence[Claim] = CLAIMS) -> dict[str, list[Difference]]:
    """Return the differences that have an interval as lines of a plot, by the start that they are about."""
    panels: dict[str, list[Difference]] = {}
    for claim in (claim for about in _by_start(claims).values() for claim in about if claim.over):
        metric, other = _name(claim)
        for one in found:
            if one.claim is not claim or one.interval is None:
                continue
            name = f'{metric}, {_epochs(one.row, claim)} epochs: {other}, n={len(one.differences)}'
            wanted = [] if claim.must is None or claim.aim is None else [claim.must, claim.aim]
            line = Difference(name, one.differences, one.interval, wanted, one.reached)
            panels.setdefault(f'{claim.ours} minus …', []).append(line)
    return panels


def _by_start(claims: Iterable[Claim]) -> dict[Start, list[Claim]]:
    """Group claims by what is "ours", those first that ask for something."""
    groups: dict[Start, list[Claim]] = {}
    for claim in sorted(claims, key=lambda claim: claim.must is None and not claim.noise):
        groups.setdefault(claim.ours, []).append(claim)
    return groups


def _name(claim: Claim) -> tuple[str, str]:
    """Name the metric, and what is subtracted."""
    other = '' if claim.over is None else str(claim.over)
    if claim.over == Start(SCRATCH) or claim.budget != EQUAL:
        other += f', {claim.budget}'
    return quantity(claim.metric, claim.labels), other


def _epochs(row: Row, claim: Claim) -> str:
    """Write the epochs of pretraining, if there was any, and of fine-tuning: 0 of a frozen backbone."""
    before = f'{row.pretraining.epochs:g} + ' if row.pretraining and row.pretraining.epochs else ''
    return before + (f'{row.runs[0].record.protocol.epochs:g}' if claim.metric in row.metrics else '0')


def _wanted(claim: Claim) -> str:
    if claim.noise:
        return 'within noise'
    sign = _sign(claim)
    return '' if claim.must is None or claim.aim is None else f'{claim.must:{sign}g} / {claim.aim:{sign}g}'


def cells_of(one: Comparison) -> dict[str, str]:
    """Write what was found as cells of a table, by column."""
    claim, differences, objects = one.claim, one.differences, one.identities
    network = ', '.join(filter(None, (one.row.model.backbone, pretraining_budget(one.row))))
    protocol = protocol_hash(one.table) if claim.metric in one.row.metrics else ''
    return _shared_cells(one) | {
        'Backbone': one.row.model.backbone,
        'Difference': f'{fmean(differences):+.1f}' if claim.over else '',
        '95 % interval': _interval(one),
        'p, signs': _p_text(sign_flip_p(differences) if claim.over else None),
        'Ours (epochs)': f'{spread(one.ours.values())} ({_epochs(one.row, claim)})',
        'Theirs (epochs)': f'{spread(one.theirs.values())} ({_epochs(one.twin, claim)})' if one.twin else '',
        'Other objects': (
            '' if objects is None else f'{objects.low:+.1f} to {objects.high:+.1f} ({objects.clusters} identities)'
        ),
        'On': f'{data_name(one.table)}; {network}{protocol}',
    }


def _answer(one: Comparison) -> dict[str, str]:
    claim, interval = one.claim, _interval(one)
    return _shared_cells(one) | {
        'Result (95 % interval)': f'{fmean(one.differences):{_sign(claim)}.1f}'
        + (f' ({interval})' if interval else ''),
        'Epochs': _epochs(one.row, claim),
        'Epochs of the other': _epochs(one.twin, claim) if one.twin else '',
    }


def _shared_cells(one: Comparison) -> dict[str, str]:
    named = [*_name(one.claim), _wanted(one.claim), one.reached]
    p_values = [_p_text(p) for p in (one.p, one.p_folds, one.adjusted)]
    return dict(zip([*NAMED, 'n', *P_VALUES], [*named, str(len(one.differences)), *p_values], strict=True))


def _p_text(p: float | None) -> str:
    return '' if p is None else f'{p:.2g}'


def _interval(one: Comparison) -> str:
    sign, interval = _sign(one.claim), one.interval
    return '' if interval is None else f'{interval[0]:{sign}.1f} to {interval[1]:{sign}.1f}'


def _sign(claim: Claim) -> str:
    """Format a difference with its sign, and a number that stands for itself without."""
    return '+' if claim.over else ''
