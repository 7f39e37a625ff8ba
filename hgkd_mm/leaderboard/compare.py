"""Say which of two backbones is better where, and by how much."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import RecordError
from ..statistics.bootstrap import Interval
from ..statistics.paired import paired_interval
from ..statistics.predictions import Prediction, difference_over_identities, read_predictions
from ..utils import sha256_file
from .collect import Found, Gain, Row, Run, Table, paired_differences, paired_gain
from .names import data_name, label, markdown_table, number, p_text, protocol_name, row_name
from .record import primary_metric


@dataclass(frozen=True)
class Comparison:
    """Two rows of one table, on its primary metric; ``low`` and ``high`` bound A - B at 95 %, if known.

    ``over_identities`` bounds it from what both said about every image; None where that is not known.
    """

    table: Table
    a: Row
    b: Row
    gain: Gain
    low: float | None
    high: float | None
    over_identities: Interval | None


def select(found_rows: Iterable[tuple[Table, Row]], query: str) -> list[tuple[Table, Row]]:
    """Find the rows that a query means.

    Args:
        found_rows: Tables and their rows.
        query: Words which all occur in the row's name (``'h-gkd resnet-18'``), or how a backbone's SHA-256 begins.

    Raises:
        RecordError: None fits, or several rows of one table do.
    """
    words = query.lower().split()
    rows = list(found_rows)
    chosen = [(t, r) for t, r in rows if words and all(word in row_name(r).lower() for word in words)]
    if not chosen:
        chosen = [
            (t, r) for t, r in rows if any(sha.startswith(query.lower()) for sha in _hashes(r)) and len(query) > 5
        ]
    names = sorted({row_name(row) for _, row in rows})
    if not chosen:
        raise RecordError(f'no row is called {query!r}; there are: {"; ".join(names)}')
    # A row called exactly so wins over those that merely contain the words.
    exact = [(t, r) for t, r in chosen if row_name(r).lower() == query.lower()]
    chosen = exact or chosen
    several = {row_name(r) for _, r in chosen}
    if len(several) > 1:
        raise RecordError(f'{query!r} fits several rows: {"; ".join(sorted(several))}; say more')
    return chosen


def _hashes(row: Row) -> list[str]:
    return [run.record.pretraining.backbone_sha256 or '' for run in row.runs if run.record.pretraining]


def compare(tables: Sequence[Table], a: str, b: str) -> list[Comparison]:
    """Compare two backbones under every protocol that both were measured with.

    Args:
        tables: All tables.
        a: Query for one, see :func:`select`.
        b: Query for the other.

    Raises:
        RecordError: A query fits no row or several, or the two have no protocol in common.
    """
    rows = [(table, row) for table in tables for row in table.rows]
    ours, theirs = select(rows, a), select(rows, b)
    found = []
    for table, row in ours:
        for other_table, other in theirs:
            if table is other_table and row is not other and row.model.name == other.model.name:
                a_values, b_values = (one.values(primary_metric(table.task)) for one in (row, other))
                low, high = paired_interval(paired_differences(a_values, b_values)) or (None, None)
                gain = paired_gain(a_values, b_values)
                found.append(Comparison(table, row, other, gain, low, high, over_identities(row, other)))
    if not found:
        raise RecordError(f'{a!r} and {b!r} were never measured on the same data under the same protocol')
    return found


def over_identities(a: Row, b: Row) -> Interval | None:
    """Bound A - B by a bootstrap over identities; None unless two runs of one fold and seed kept their predictions.

    Raises:
        RecordError: Predictions are damaged, not those of the record, or of different images.
    """
    theirs = {run.key: run for run in b.runs}
    pairs = [(_predictions(run), _predictions(theirs[run.key])) for run in a.runs if run.key in theirs]
    known = [(ours, other) for ours, other in pairs if ours and other]
    return difference_over_identities(known) if known else None


def _predictions(run: Run) -> list[Prediction] | None:
    """Read what the run said about every image; None when it kept nothing."""
    if run.record.predictions is None or not (path := run.path.parent / run.record.predictions.file).is_file():
        return None
    if sha256_file(path) != run.record.predictions.sha256:
        raise RecordError(f'{path}: is not the file that {run.path} was written with: its SHA-256 is another one')
    return read_predictions(path)


def describe(found: Sequence[Comparison], latencies: Found) -> str:
    """Write a comparison for people: a table, and a sentence on each task."""
    a, b = row_name(found[0].a), row_name(found[0].b)
    lines, sentences = [], []
    for one in found:
        metric = primary_metric(one.table.task)
        interval = f'{one.low:+.1f} to {one.high:+.1f}' if one.low is not None and one.high is not None else 'unknown'
        p = p_text(one.gain.p) if one.gain.p is not None else 'unknown'
        lines.append(
            [one.table.task, f'{data_name(one.table)}, {protocol_name(one.table)}', label(one.table, metric)]
            + [number(one.a, metric), number(one.b, metric), f'{one.gain.value:+.1f}', interval, p, str(one.gain.pairs)]
        )
        sentences += [_sentence(one), *_sentence_on_identities(one)]
    head = ['Task', 'Data and protocol', 'Metric', 'A', 'B', 'A - B', '95 % interval', 'p', 'Pairs']
    if any(len(one.table.folds) > 1 for one in found):
        sentences.append('Folds share training images, so intervals and p look surer than they are.')
    cost = _cost(found[0], latencies)
    return f'A: {a}\nB: {b}\n\n{markdown_table(head, lines)}\n' + '\n'.join([*sentences, *cost]) + '\n'


def _sentence(one: Comparison) -> str:
    where, gain = f'{one.table.task.capitalize()} ({one.table.dataset.name})', one.gain
    if gain.value == 0:
        return f'{where}: A and B are equal.'
    better = 'A' if gain.value > 0 else 'B'
    by = f'{where}: {better} is better by {abs(gain.value):.1f} points'
    if one.low is None or one.high is None:
        runs = (
            'one pair of runs' if gain.pairs == 1 else 'no runs that share fold and seed' if not gain.pairs else 'runs'
        )
        return f'{by}, but from {runs} nobody can tell chance from effect: run more seeds or folds.'
    certain = one.low > 0 or one.high < 0
    doubt = 'more than chance explains at the 5 % level' if certain else 'which chance may explain'
    return f'{by} (95 % interval of A - B: {one.low:+.1f} to {one.high:+.1f}, {gain.pairs} pairs), {doubt}.'


def _sentence_on_identities(one: Comparison) -> list[str]:
    found = one.over_identities
    if found is None:
        return []
    return [
        f'These networks on other objects: {found.low:+.1f} to {found.high:+.1f} (95 % interval of A - B, bootstrap '
        f'over the {found.clusters} identities of {found.examples} images).'
    ]


def _cost(one: Comparison, latencies: Found) -> list[str]:
    a, b = one.a.model, one.b.model
    if a == b:
        return ['Both are the same network: parameters, multiply-accumulates and latency are equal.']
    lines = [f'Parameters: A {a.params / 1e6:.2f} M, B {b.params / 1e6:.2f} M.']
    if a.backbone_gmacs and b.backbone_gmacs:
        lines.append(f'Multiply-accumulates of the backbone: A {a.backbone_gmacs:.2f} G, B {b.backbone_gmacs:.2f} G.')
    theirs = {timing.place: timing for timing in latencies.latency(one.b)}
    for timing in latencies.latency(one.a):
        if other := theirs.get(timing.place):
            lines.append(
                f'Latency on {timing.device}, {timing.threads} threads: A {timing.median_ms:.2f} ms, '
                f'B {other.median_ms:.2f} ms.'
            )
    return lines
