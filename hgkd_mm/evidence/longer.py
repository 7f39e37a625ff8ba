"""Scratch that was trained for longer, which is another protocol."""

from collections.abc import Iterable

from ..leaderboard.collect import SCRATCH, Row, Table, one_data_a_fold
from ..leaderboard.record import Protocol
from .claims import FINETUNING_SECONDS, STUDENT_SECONDS, Claim
from .equal_time import pretraining_seconds

#: After how many times the total time scratch is asked whether it had converged.
CONVERGED = 1.9


def longer_scratch(tables: Iterable[Table], table: Table, row: Row, claim: Claim) -> Row | None:
    """Find scratch's row that had at least the time of pretraining and fine-tuning, or nearly twice that to converge.

    Time is images times what one takes on a CPU core, so it does not depend on the machines that the records are of.
    The row is of the same task, data and network, and its protocol differs in nothing that a record says but the
    epochs. The hash of the rest cannot be asked: a schedule knows where it ends.

    Args:
        tables: To look in.
        table: That of ``row``.
        row: Has pretraining.
        claim: Its ``budget`` is more than equal fine-tuning.

    Returns:
        Of those that are long enough the shortest; None when there is none, or the time is not known.
    """
    enough = _images_needed(table, row, claim)
    if enough is None:
        return None
    found = [
        other
        for one in tables
        if _but_for_epochs(one) == _but_for_epochs(table)
        for other in one.rows
        if (other.method, other.network) == (SCRATCH, row.network)
        and _tuned(other) >= enough
        and one_data_a_fold([*row.runs, *other.runs])
    ]
    return min(found, key=_tuned, default=None)


def _images_needed(table: Table, row: Row, claim: Claim) -> float | None:
    """Return how many images of fine-tuning take as long as pretraining and fine-tuning, times what is asked."""
    pretrained, tuned = pretraining_seconds(row), _tuned(row)
    if not pretrained or not tuned or row.model.backbone in STUDENT_SECONDS:  # whose fine-tuning was not timed
        return None
    total = pretrained / FINETUNING_SECONDS[table.task] + tuned
    return total * (CONVERGED if claim.budget == 'to convergence' else 1)


def _tuned(row: Row) -> int:
    return min(run.record.budget.finetuning_images or 0 for run in row.runs)


def _but_for_epochs(table: Table) -> tuple[str, str, str | None, Protocol]:
    protocol = table.protocol.model_copy(update={'epochs': 1.0, 'iterations': None, 'sha256': None})
    return table.task, table.dataset.name, table.dataset.version, protocol
