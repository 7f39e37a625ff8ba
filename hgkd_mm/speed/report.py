"""Tables, JSON and plots of measurements."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure

from ..leaderboard import facts
from ..utils import atomic_write
from ..visualization.figure import save


def machine(device: str = 'cpu') -> dict[str, str]:
    """Return what a reader must know about the machine: with ``device`` ``'cuda'``, the name of its GPU too."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return {
        'cpu': names[0] if names else platform.machine(),
        'instructions': torch.backends.cpu.get_cpu_capability(),
        'torch': torch.__version__,
        **({'gpu': facts.device()} if device == 'cuda' else {}),
    }


def table(rows: Sequence[dict], columns: dict[str, str]) -> str:
    """Return a Markdown table.

    Args:
        rows: Values by column name.
        columns: Header by name; a name of the rows, in order. Numbers are shown to three figures.
    """
    lines = ['| ' + ' | '.join(columns.values()) + ' |', '|' + '---|' * len(columns)]
    for row in rows:
        lines.append('| ' + ' | '.join(_text(row.get(name)) for name in columns) + ' |')
    return '\n'.join(lines)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'
    return '–' if value is None else str(value)


def write_json(path: str | os.PathLike, kind: str, setting: dict, rows: Sequence[dict]) -> None:
    """Write a measurement with the facts about the machine."""
    content = {
        'schema': 1,
        'kind': kind,
        'machine': machine(setting.get('device', 'cpu')),
        'setting': setting,
        'rows': list(rows),
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def plot_bars(path: str | os.PathLike, title: str, rows: Sequence[dict]) -> None:
    """Draw the times of an encoder's variants (``variant``, ``step_ms``, ``forward_ms``) or of methods (no forward)."""
    figure = Figure(figsize=(6, 0.5 * len(rows) + 1.2), layout='constrained')
    axis = figure.subplots()
    names = [row.get('variant') or row['method'] for row in rows]
    axis.barh(names, [row['step_ms'] for row in rows], color='tab:blue', label='whole step')
    if 'forward_ms' in rows[0]:
        axis.barh(names, [row['forward_ms'] for row in rows], color='tab:orange', label='forward')
    axis.invert_yaxis()
    axis.set_xlabel('ms a batch')
    axis.set_title(title, fontsize=8)
    axis.legend(fontsize=8)
    save(figure, path)


def plot_scaling(path: str | os.PathLike, title: str, rows: Sequence[dict]) -> None:
    """Draw time over the visible fraction, both relative to the whole image."""
    figure = Figure(figsize=(4.5, 4), layout='constrained')
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color='grey', linestyle=':', label='time = fraction')
    for size in sorted({row['img_size'] for row in rows}):
        points = [(row['fraction'], row['relative']) for row in rows if row['img_size'] == size]
        axis.plot(*zip(*points, strict=True), marker='o', label=f'packed, {size} px')
    axis.set_xlabel('visible fraction')
    axis.set_ylabel('time / time of the whole image')
    axis.set_title(title, fontsize=8)
    axis.legend(fontsize=8)
    save(figure, path)
