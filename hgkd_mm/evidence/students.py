"""The chosen H-GKD on the other students."""

from collections.abc import Iterable, Sequence

from ..leaderboard.names import markdown_table
from .claims import OF_STUDENTS, STUDENTS, Claim
from .comparisons import cells_of, find
from .measured import Suite

HEAD = ['Backbone', 'Metric', 'Minus', 'Difference', '95 % interval', 'Other objects', 'n']
HEAD += ['Ours (epochs)', 'Theirs (epochs)', 'On']


def render_students(suites: Iterable[Suite], claims: Sequence[Claim] = OF_STUDENTS) -> str:
    """Write a table of what the records of the other students say, by student; without any, its head alone."""
    found = find([suite for suite in suites if suite.name == STUDENTS], claims)
    lines = [cells_of(one) for one in sorted(found, key=lambda one: one.row.model.backbone)]
    return markdown_table(HEAD, [[line[column] for column in HEAD] for line in lines])
