"""What a running suite shows: a live table on a terminal, plain lines in a log."""

import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from .estimate import duration, expected_seconds, makespan, share_done
from .plan import Job, Plan

#: Seconds between two plain lines about jobs under way.
_REMIND = 60.0
_LOG_TAIL = 20_000


class Progress:
    """Follows the jobs of a run.

    Args:
        plan: The suite's plan.
        todo: Names of the jobs that will run.
        lanes: Jobs at a time.
        console: Where to show it.
    """

    def __init__(self, plan: Plan, todo: Iterable[str], lanes: int, console: Console) -> None:
        names = set(todo)
        self.plan = plan
        self.lanes = lanes
        self.console = console
        self.jobs = {job.name: job for job in plan.jobs if job.name in names}
        self.started: dict[str, float] = {}
        self.finished: set[str] = set()
        self.failed: list[Job] = []
        self.seconds = expected_seconds(plan)
        self.reminded = self.begin = time.monotonic()
        self.live = Live(console=console, get_renderable=self._table, transient=True) if console.is_terminal else None

    def __enter__(self) -> 'Progress':
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.__exit__(kind, error, trace)

    def handle(self, event: str, name: str) -> None:
        """Take note of ``started``, ``finished`` or ``failed``."""
        job = self.jobs.get(name)
        if job in self.failed and event == 'started':  # again, by Snakemake's --retries
            self.failed.remove(job)
            self.finished.remove(name)
            del self.started[name]
        if job is None or name in self.finished:
            return
        if event == 'started':
            if name not in self.started:
                self.started[name] = time.monotonic()
                self.say(f'started   {job.title}')
            return
        took = duration(time.monotonic() - self.started.get(name, time.monotonic()))
        self.finished.add(name)
        self.seconds = expected_seconds(self.plan)
        if event == 'failed':
            self.failed.append(job)
        self.say(f'{"FAILED  " if event == "failed" else "finished"}  {job.title} ({took}), {self.left()} left')

    def tick(self) -> None:
        """Say something now and then, where nobody sees a live table."""
        if self.live is None and time.monotonic() - self.reminded > _REMIND:
            running = ', '.join(f'{job.title} {self._share(job):.0%}' for job in self.running())
            self.say(f'running   {running or "nothing"}; {self.left()} left')

    def say(self, text: str) -> None:
        """Print a line above the live table, or a plain one with the time."""
        self.reminded = time.monotonic()
        stamp = time.strftime('%H:%M:%S')
        count = f'{len(self.finished)}/{len(self.jobs)}'
        self.console.print(f'{stamp} [{count}] {text}', markup=False, highlight=False, soft_wrap=True)

    def running(self) -> list[Job]:
        """Return the jobs under way."""
        return [self.jobs[name] for name in self.started if name not in self.finished]

    def left(self) -> str:
        """Return the expected time to the end, for people."""
        seconds = dict(self.seconds)
        for job in self.running():
            share, spent = self._share(job), time.monotonic() - self.started[job.name]
            # A run that shows how far it is tells best how long it takes.
            total = spent / share if share > 0.1 else max(seconds[job.name], spent)
            seconds[job.name] = total - spent
        jobs = [job for job in self.jobs.values() if job.name not in self.finished]
        return duration(makespan(jobs, seconds, self.lanes))

    def _share(self, job: Job) -> float:
        try:
            with self.plan.path(job.log).open('rb') as file:
                file.seek(max(0, file.seek(0, 2) - _LOG_TAIL))
                return share_done(file.read().decode(errors='replace'), job.epochs)
        except OSError:
            return 0.0

    def _table(self) -> Group:
        elapsed = duration(time.monotonic() - self.begin)
        title = (
            f'{self.plan.suite}: {len(self.finished)} of {len(self.jobs)} jobs, {elapsed} so far, {self.left()} left'
        )
        table = Table(box=None, show_header=False)
        for job in self.running():
            share = self._share(job)
            spent = duration(time.monotonic() - self.started[job.name])
            table.add_row('  ' + job.title, f'{share:.0%}' if share else '', spent)
        return Group(title, table)
