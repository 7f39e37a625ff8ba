"""The leaderboard as LaTeX tables (package booktabs), one a comparison."""

from collections.abc import Sequence

from ..collect import SCRATCH, SPARK, Table
from ..names import data_name, gain_text, label, number, pretraining_budget, protocol_facts, start_name

SPECIAL = str.maketrans(
    {
        '\\': r'\textbackslash{}', '&': r'\&', '%': r'\%', '$': r'\$', '#': r'\#', '_': r'\_', '{': r'\{', '}': r'\}',
        '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '±': r'$\pm$', '–': '--', '<': r'\textless{}',
        '>': r'\textgreater{}', '|': r'\textbar{}', '\n': ' ',
    }
)  # fmt: skip


def escape(text: str) -> str:
    """Escape what LaTeX reads as commands."""
    return text.translate(SPECIAL)


def render_latex(tables: Sequence[Table]) -> str:
    """Render the tables, the best mean of each column in bold."""
    return '% needs \\usepackage{booktabs}\n' + '\n'.join(_table(table) for table in tables)


def _table(table: Table) -> str:
    metrics = table.metrics
    best = {m: max(row.mean(m) for row in table.rows if m in row.metrics) for m in metrics}
    head = ['Student', 'Start', 'Pretraining', *(label(table, m) for m in metrics), 'Over scratch', 'Over SparK', '$n$']
    lines = []
    for row in table.rows:
        cells = [row.model.backbone, start_name(row), pretraining_budget(row) or '–']
        cells = [escape(text) for text in cells]
        for m in metrics:
            text = escape(number(row, m)) if m in row.metrics else '--'
            cells.append(rf'\textbf{{{text}}}' if m in row.metrics and row.mean(m) == best[m] else text)
        gains = [gain_text(table.gain(row, metrics[0], over), len(row.runs)) for over in (SCRATCH, SPARK)]
        lines.append(' & '.join([*cells, *(escape(text) or '--' for text in gains), str(len(row.runs))]) + r' \\')
    facts = ', '.join(f'{term.lower()} {value}' for term, value in protocol_facts(table))
    caption = f'{table.task.capitalize()} on {data_name(table)}: {facts}. Mean and standard deviation over n runs.'
    return '\n'.join(
        [
            r'\begin{table}',
            r'\centering',
            rf'\caption{{{escape(caption)}}}',
            rf'\begin{{tabular}}{{lll{"r" * len(metrics)}rrr}}',
            r'\toprule',
            ' & '.join(name if name == '$n$' else escape(name) for name in head) + r' \\',
            r'\midrule',
            *lines,
            r'\bottomrule',
            r'\end{tabular}',
            r'\end{table}',
            '',
        ]
    )
