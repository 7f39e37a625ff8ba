"""What the students of a suite have learned of their teachers, on images that they were not trained on."""

import re
from collections.abc import Iterable, Sequence
from statistics import fmean

from ..leaderboard.collect import Row
from ..leaderboard.names import markdown_table, row_names
from ..leaderboard.record import PretrainingRecord
from .convergence import pretrained
from .measured import PROBES, Suite, last_point

#: Curves of explained variance by column.
EXPLAINED = {
    'Visible': 'explained_variance_visible_unseen',
    'Visible, nearest': 'explained_variance_visible_nearest',
    'Hidden': 'explained_variance_masked_unseen',
    'Hidden, nearest': 'explained_variance_masked_nearest',
}
KNN = 'knn_top1'
_OF_THE_HOOK = re.compile(r'explained_variance_\w+_(unseen|nearest)|rank_stage|cka_stage')
_OF_A_STAGE = re.compile(r'(?P<figure>rank|cka)_stage(?P<stage>\d+)(_(?P<target>\d+))?')


def render_diagnostics(suite: Suite) -> str:
    """Write what :class:`~hgkd_mm.hooks.DiagnosticsHook` found at the end of every pretraining, a line a start.

    Figures are means over folds and seeds. A cell has one number for each stage, divided by slashes; of several
    targets those of each, divided by semicolons. What no record of a start knows is empty.

    Returns:
        A table; empty without any such record.
    """
    starts, lines = diagnosed(suite), []
    for (_, records), start in zip(starts, row_names([row for row, _ in starts]), strict=True):
        explained = [_by_target(records, name) for name in EXPLAINED.values()]
        stages = [_stages(records, 'rank', 0), _stages(records, 'cka', 2)]
        lines.append([start, *explained, *stages, _written(_means(records, KNN), 1), str(len(records))])
    head = ['Start', *EXPLAINED, 'Rank of each stage', 'CKA of each stage', PROBES[KNN], 'n']
    return markdown_table(head, lines) if lines else ''


def diagnosed(suite: Suite) -> list[tuple[Row, list[PretrainingRecord]]]:
    """Return every start with its records of pretraining that have diagnostics, as :func:`pretrained` does.

    Records older than the diagnostics are left out, and so is a start that has no others: probes alone do not count.
    """
    found = []
    for row, records in pretrained(suite):
        known = [record for record in records if any(map(_OF_THE_HOOK.match, record.curves))]
        if known:
            found.append((row, known))
    return found


def _by_target(records: Sequence[PretrainingRecord], name: str) -> str:
    """Write a figure; of several targets, whose numbers stand behind its name, that of each."""
    known = {curve for record in records for curve in record.curves if re.fullmatch(rf'{name}(_\d+)?', curve)}
    return '; '.join(_written(_means(records, curve), 3) for curve in sorted(known, key=_numbers))


def _stages(records: Sequence[PretrainingRecord], figure: str, decimals: int) -> str:
    """Write a figure of all stages, shallowest first; of several targets, one list for each."""
    by_target: dict[int, dict[int, str]] = {}
    for curve in {curve for record in records for curve in record.curves}:
        match = _OF_A_STAGE.fullmatch(curve)
        if match and match['figure'] == figure:
            stages = by_target.setdefault(int(match['target'] or 0), {})
            stages[int(match['stage'])] = _written(_means(records, curve), decimals)
    return '; '.join(' / '.join(text for _, text in sorted(stages.items())) for _, stages in sorted(by_target.items()))


def _means(records: Iterable[PretrainingRecord], curve: str) -> float | None:
    """Return the mean of the last points of those that have the curve."""
    last = [value for record in records if (value := last_point(record, curve)) is not None]
    return fmean(last) if last else None


def _numbers(curve: str) -> list[int]:
    return [int(number) for number in re.findall(r'\d+', curve)]


def _written(value: float | None, decimals: int) -> str:
    return '' if value is None else f'{value:.{decimals}f}'
