"""The claims beside what the records say."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from ..leaderboard.collect import SCRATCH, Row, Table, Values, paired_differences
from ..leaderboard.compare import over_identities
from ..leaderboard.names import data_name, epochs, markdown_table, pretraining_budget, protocol_short, spread
from ..leaderboard.record import METRICS, primary_metric
from ..visualization.forest import Difference
from .bootstrap import Interval
from .claims import CLAIMS, STUDY, Claim
from .equal_time import pretraining_seconds, twin_of_equal_time
from .holm import holm
from .longer import longer_scratch
from .measured import Suite, labels, quantity
from .paired import paired_interval, paired_p, sign_flip_p

HEAD = ['Comparison', 'What', 'Ours', 'Theirs', 'Difference', '95 % interval', 'n', 'p', 'p, Holm', 'p, signs']
HEAD += ['Other objects', 'Must / aim', 'Reached']


class Found(NamedTuple):
    """Two rows that a claim is about (one, of a number that stands for itself) and what was measured of them."""

    claim: Claim
    table: Table
    row: Row
    twin: Row | None
    ours: Values
    theirs: Values
    differences: list[float]
    identities: Interval | None

    @property
    def p(self) -> float | None:
        """Of the paired t-test; None for a number that stands for itself, which is no difference."""
        return paired_p(self.differences) if self.claim.over else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean difference; None of one pair."""
        return paired_interval(self.differences)

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
        sure = not claim.over or (self.p is not None and self.p < 0.01)
        if sure and mean >= claim.aim:
            return 'aim'
        return 'must' if mean >= claim.must and (sure or claim.must == 0) else 'no'


def judged(suites: Sequence[Suite]) -> list[Suite]:
    """Return the study alone; while there is none, all suites."""
    return [suite for suite in suites if suite.name == STUDY] or list(suites)


def find(suites: Iterable[Suite], claims: Sequence[Claim] = CLAIMS) -> list[Found]:
    """Find what the records say about each claim: every row that starts so, with its twin of the same protocol."""
    suites = list(suites)
    return [one for claim in claims for suite in suites for one in _find(suite, claim)]


def _find(suite: Suite, claim: Claim) -> Iterable[Found]:
    probe = claim.metric not in METRICS[claim.task]  # the same under every protocol, however many labels that had
    tables = suite.frozen() if probe else [table for table in suite.tables if labels(table) == claim.labels]
    for table in tables:
        if not probe and table.task != claim.task:
            continue
        for row in sorted(filter(claim.ours.fits, table.rows), key=lambda row: pretraining_seconds(row) or 0):
            twin = _twin(tables, table, row, claim)
            ours, theirs = suite.values(row, claim.metric), suite.values(twin, claim.metric) if twin else {}
            differences = paired_differences(ours, theirs) if claim.over else list(ours.values())
            if not differences:
                continue
            primary = claim.metric == primary_metric(claim.task)
            identities = over_identities(row, twin) if twin and primary else None
            yield Found(claim, table, row, twin, ours, theirs, differences, identities)


def _twin(tables: Iterable[Table], table: Table, row: Row, claim: Claim) -> Row | None:
    if claim.over is None:
        return None
    if claim.over != SCRATCH:
        return twin_of_equal_time(table, row, claim.over)
    if claim.budget == 'equal fine-tuning':
        return table.twin(row, claim.over)
    return longer_scratch(tables, table, row, claim)


def render_comparisons(suites: Iterable[Suite], claims: Sequence[Claim] = CLAIMS) -> str:
    """Write a table with a line for every comparison; 'no run yet' where the records have none.

    ``p`` is of the paired t-test over folds and seeds, then adjusted by Holm's method over all lines that have one,
    then that of the exact sign-flip test. The interval is Student's t over the pairs; that of other objects is the
    bootstrap over identities.
    """
    found = find(suites, claims)
    adjusted = iter(holm([one.p for one in found if one.p is not None]))
    corrected = [None if one.p is None else next(adjusted) for one in found]
    lines = []
    for claim in claims:
        mine = [_line(one, after) for one, after in zip(found, corrected, strict=True) if one.claim is claim]
        lines += mine or [[_name(claim), 'no run yet', *[''] * (len(HEAD) - 4), _wanted(claim), '']]
    return markdown_table(HEAD, lines)


def forest(suites: Iterable[Suite], claims: Sequence[Claim] = CLAIMS) -> dict[str, list[Difference]]:
    """Return the differences that have an interval as lines of a plot, by the start that they are about."""
    panels: dict[str, list[Difference]] = {}
    for one in find(suites, claims):
        claim, interval, pretraining = one.claim, one.interval, one.row.pretraining
        if claim.over is None or interval is None:
            continue
        tuned = one.table.protocol.epochs if claim.metric in one.row.metrics else 0.0
        before = f'{pretraining.epochs:g} + ' if pretraining and pretraining.epochs else ''
        length = before + epochs(tuned)
        name = f'{quantity(claim.metric, claim.labels)}, {length}: {_other(claim)}, n={len(one.differences)}'
        wanted = [] if claim.must is None or claim.aim is None else [claim.must, claim.aim]
        line = Difference(name, one.differences, interval, wanted, one.reached)
        panels.setdefault(f'{claim.ours} minus …', []).append(line)
    return panels


def _name(claim: Claim) -> str:
    other = _other(claim)
    return f'{quantity(claim.metric, claim.labels)}, {claim.ours}' + (f' - {other}' if other else '')


def _other(claim: Claim) -> str:
    return f'{claim.over}, {claim.budget}' if claim.over == SCRATCH else claim.over or ''


def _wanted(claim: Claim) -> str:
    if claim.noise:
        return 'within noise'
    sign = '+' if claim.over else ''
    return '' if claim.must is None or claim.aim is None else f'{claim.must:{sign}g} / {claim.aim:{sign}g}'


def _line(one: Found, corrected: float | None) -> list[str]:
    claim, differences, interval, objects = one.claim, one.differences, one.interval, one.identities
    sign, signs = ('+', sign_flip_p(differences)) if claim.over else ('', None)
    protocol = protocol_short(one.table) if claim.metric in one.row.metrics else 'frozen backbone'
    budget = pretraining_budget(one.row)
    theirs = ''
    if one.twin is not None and claim.budget != 'equal fine-tuning':
        theirs = f'; {claim.over} for {epochs(one.twin.runs[0].record.protocol.epochs)}'
    elif one.twin is not None and (had := pretraining_budget(one.twin)):
        theirs = f'; {claim.over}, {had}'
    return [
        _name(claim),
        f'{data_name(one.table)}, {protocol}; {one.row.model.backbone}{budget and f", {budget}"}{theirs}',
        spread(one.ours.values()),
        spread(one.theirs.values()) if one.theirs else '',
        f'{fmean(differences):+.1f}' if claim.over else '',
        '' if interval is None else f'{interval[0]:{sign}.1f} to {interval[1]:{sign}.1f}',
        str(len(differences)),
        *('' if value is None else f'{value:.2g}' for value in (one.p, corrected, signs)),
        '' if objects is None else f'{objects.low:+.1f} to {objects.high:+.1f} ({objects.clusters} identities)',
        _wanted(claim),
        one.reached,
    ]
