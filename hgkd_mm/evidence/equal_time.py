"""A start beside another whose pretraining took as long, clearly less, or as many epochs."""

from collections.abc import Iterable

from ..leaderboard.collect import Row, Table, nearest_in_epochs
from .claims import PRETRAINING_SECONDS, STUDENT_SECONDS, Start

#: The least share of a row's time that its twin has to have: suites round epochs.
AS_LONG = 0.9


def pretraining_seconds(row: Row) -> float | None:
    """Return the seconds on a CPU core that a pretraining takes, by its images; None of unknown ones."""
    images = row.pretraining and row.pretraining.images
    known = STUDENT_SECONDS.get(row.model.backbone, PRETRAINING_SECONDS)
    seconds = next((seconds for start, seconds in known.items() if start.fits(row)), None)
    return images * seconds if images and seconds else None


def twin_of_equal_time(table: Table, row: Row, start: Start) -> Row | None:
    """Find the row of the same network that starts so, and had most nearly as long a pretraining.

    Args:
        table: To look in.
        row: Has pretraining.
        start: What the other row starts from.

    Returns:
        None when all have clearly less time than ``row``. Where times are not known, the one nearest in epochs.
    """
    enough, others = pretraining_seconds(row), _others(table, row, start)
    timed = _timed(others)
    if enough is None or len(timed) < len(others):
        return nearest_in_epochs(row, others)
    long = [one for one in timed if one[0] >= AS_LONG * enough]
    return min(long, key=lambda one: (abs(one[0] - enough), one[0]), default=(0.0, None))[1]


def twin_of_less_time(table: Table, row: Row, start: Start) -> Row | None:
    """Find the longest of the rows that :func:`twin_of_equal_time` leaves out; None also where times are not known."""
    ours = pretraining_seconds(row) or 0.0
    short = [one for one in _timed(_others(table, row, start)) if one[0] < AS_LONG * ours]
    return max(short, key=lambda one: one[0], default=(0.0, None))[1]


def twin_of_equal_epochs(table: Table, row: Row, start: Start) -> Row | None:
    """Find the row of the same network that starts so and had as many epochs of pretraining; None when none had."""
    others = _others(table, row, start)
    return next((other for other in others if other.pretrained_epochs == row.pretrained_epochs), None)


def _timed(rows: Iterable[Row]) -> list[tuple[float, Row]]:
    return [(seconds, row) for row in rows if (seconds := pretraining_seconds(row)) is not None]


def _others(table: Table, row: Row, start: Start) -> list[Row]:
    return [other for other in table.rows if other.network == row.network and start.fits(other)]
