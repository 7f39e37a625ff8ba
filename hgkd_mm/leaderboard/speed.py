"""How long building takes, and how long the page makes a reader wait."""

import statistics
import tempfile
import time
from pathlib import Path

from .browser import open_browser
from .build import build
from .facts import device
from .names import markdown_table
from .synthetic import write_synthetic

#: From the event to the first frame that shows the new rows.
TIMED = """action => new Promise(resolve => {
    const table = window.jQuery('#table').DataTable();
    const start = performance.now();
    table.one('draw.dt', () => requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start))));
    const target = document.querySelector(action.selector);
    if (action.value === undefined) target.click();
    else { target.value = action.value; target.dispatchEvent(new Event(action.event, {bubbles: true})); }
})"""
ACTIONS = {
    'sort by result': {'selector': '#table thead th:nth-child(5)'},
    'sort by student': {'selector': '#table thead th:nth-child(3)'},
    'filter by task': {'selector': '#f-task', 'value': 'detection', 'event': 'change'},
    'filter by method too': {'selector': '#f-method', 'value': 'H-GKD', 'event': 'change'},
    'search for two words': {'selector': '#f-search', 'value': 'net-7 h-gkd', 'event': 'input'},
    'next page': {'selector': '#table_wrapper button.next'},
}


def measure(records: int, rounds: int = 3) -> dict[str, float]:
    """Build and open a leaderboard of made-up records, each a row of its own.

    Args:
        records: How many.
        rounds: Of the measurements; the median counts.

    Returns:
        Seconds by what was done.
    """
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic(Path(folder, 'runs'), records)
        page_file = Path(folder, 'out', 'index.html')
        for _ in range(rounds):
            start = time.perf_counter()
            build([Path(folder, 'runs')], Path(folder, 'out'))
            seconds.setdefault('build all formats', []).append(time.perf_counter() - start)
        with open_browser() as browser:
            for _ in range(rounds):
                page = browser.new_page(viewport={'width': 1280, 'height': 900})
                start = time.perf_counter()
                page.goto(page_file.as_uri())
                page.wait_for_selector('html[data-ready=true]')
                seconds.setdefault('open the page', []).append(time.perf_counter() - start)
                page.wait_for_timeout(1500)  # the charts
                for name, action in ACTIONS.items():
                    milliseconds = page.evaluate(TIMED, action)
                    seconds.setdefault(name, []).append(milliseconds / 1000)
                    page.wait_for_timeout(1000)
                page.close()
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(records: int, seconds: dict[str, float]) -> str:
    """Write the measurements as a Markdown table."""
    lines = [[name, f'{value:.2f} s'] for name, value in seconds.items()]
    note = f'{records:,} records, each a row; {device()}, Chromium without a GPU; medians.'
    return f'{markdown_table(["What", "Time"], lines)}\n{note}\n'
