"""Runs a plan with Snakemake: command line, lock, events, and what is said at the end."""

import fcntl
import json
import os
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from ..errors import ConfigError, HGKDError
from .estimate import duration, expected_seconds, makespan
from .plan import Job, Plan
from .progress import Progress

_HERE = Path(__file__).parent
_PREFIX = '@hgkd '  # of the logger plug-in's lines
_TAIL = 12  # lines of a failed job's log that are shown


def find_snakemake() -> Path:
    """Return Snakemake's path: named by ``HGKD_SNAKEMAKE``, or of ``.venv-suite`` beside this Python's environment.

    Raises:
        ConfigError: It is not installed.
    """
    named = os.environ.get('HGKD_SNAKEMAKE')
    places = [Path(named)] if named else [Path(root, '.venv-suite/bin/snakemake') for root in ('.', _HERE.parents[1])]
    for place in places:
        if place.is_file():
            return place.absolute()
    raise ConfigError(f'Snakemake is not installed ({places[0]} does not exist). Install it with: make env-suite')


@contextmanager
def locked(plan: Plan) -> Iterator[int]:
    """Hold the suite's lock, which ends with the process, however that ends.

    Yields:
        File descriptor, for Snakemake to inherit: it may outlive us.

    Raises:
        HGKDError: The suite is running already.
    """
    path = plan.path('.lock')
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HGKDError(f'{path.parent}: this suite is running already; wait for it, or end it') from None
        yield file.fileno()


def drop_stale_stamps(plan: Plan) -> list[Job]:
    """Remove and return jobs' stamps whose product was removed since, and that of a leaderboard of other runs."""
    stale = []
    for job in plan.jobs:
        stamp = plan.path(job.stamp)
        if not stamp.exists():
            continue
        same = job.kind != 'leaderboard' or json.loads(stamp.read_text())['command'] == list(job.command)
        if not (same and Path(plan.cwd, job.product).exists()):
            stamp.unlink()
            stale.append(job)
    return stale


def snakemake_command(plan: Plan, jobs: int, executor: str, extra: Sequence[str] = ()) -> list[str]:
    """Return the command line that runs the plan's rules.

    Args:
        plan: A plan that was saved.
        jobs: Jobs at a time; locally one core each.
        executor: ``'local'``, ``'slurm'``, or of another executor plug-in.
        extra: Further arguments for Snakemake.
    """
    command = [str(find_snakemake()), '--snakefile', str(_HERE / 'Snakefile'), '--directory', str(plan.path('.'))]
    command += ['--logger', 'hgkd', '--scheduler', 'greedy', '--keep-going', '--rerun-incomplete']
    # Our own lock cannot go stale. Names carry a hash of what decides a result, so a stamp that exists is right.
    command += ['--nolock', '--rerun-triggers', 'mtime']
    if executor == 'local':
        command += ['--cores', str(jobs), '--config', f'cores={jobs}']
    else:
        command += ['--executor', executor, '--jobs', str(jobs), '--latency-wait', '60', '--config', 'cores=1']
    if executor == 'slurm' and not any(part.startswith('--slurm-status-command') for part in extra):
        # sacct needs an accounting database, which small clusters do not have.
        asked = subprocess.run(['sacct', '-n', '-X'], capture_output=True, check=False) if _has('sacct') else None
        command += ['--slurm-status-command', 'sacct' if asked and asked.returncode == 0 else 'squeue']
    return [*command, *extra]


def _has(program: str) -> bool:
    return any(Path(folder, program).is_file() for folder in os.environ.get('PATH', '').split(os.pathsep))


def _environment() -> dict[str, str]:
    path = [str(_HERE / 'plugins'), *filter(None, [os.environ.get('PYTHONPATH')])]
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(path)}


def jobs_to_run(plan: Plan, command: Sequence[str]) -> list[Job]:
    """Ask Snakemake which jobs it would run.

    Raises:
        HGKDError: Snakemake refuses the plan.
    """
    done = subprocess.run(
        [*command, '--dry-run'],
        capture_output=True,
        text=True,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise HGKDError(f'Snakemake refuses the plan (exit status {done.returncode}):\n{done.stdout}{done.stderr}')
    names = {event['job'] for event in map(_event, done.stdout.splitlines()) if event}
    return [job for job in plan.jobs if job.name in names]


def _event(line: str) -> dict[str, str] | None:
    return json.loads(line.removeprefix(_PREFIX)) if line.startswith(_PREFIX) else None


def show_plan(plan: Plan, todo: Sequence[Job], lanes: int, console: Console) -> None:
    """Print the jobs that would run, with what each is expected to take, and the time of all."""
    seconds = expected_seconds(plan)
    for job in todo:
        _say(console, f'{duration(seconds[job.name]):>12}  {job.title}')
    _say(console, summary(plan, todo, lanes))


def summary(plan: Plan, todo: Sequence[Job], lanes: int) -> str:
    """Say in a line how much is done and how long the rest takes."""
    seconds = expected_seconds(plan)
    left = duration(makespan(todo, seconds, lanes))
    done = len(plan.jobs) - len(todo)
    return f'{plan.suite}: {len(todo)} jobs to run, {done} done; about {left} with {lanes} at a time'


def run(plan: Plan, jobs: int, executor: str = 'local', extra: Sequence[str] = (), dry: bool = False) -> int:
    """Run a plan, or say what would run.

    Args:
        plan: What to run.
        jobs: Jobs at a time.
        executor: See :func:`snakemake_command`.
        extra: Further arguments for Snakemake.
        dry: Only show the jobs and their expected times.

    Returns:
        0, or 1 when a job failed.

    Raises:
        ConfigError: ``jobs`` is below 1.
        HGKDError: It is running already, or Snakemake refuses it.
    """
    if jobs < 1:
        raise ConfigError(f'jobs is {jobs}, expected 1 or more')
    console = Console()
    with locked(plan) as lock:
        plan.save()
        for job in drop_stale_stamps(plan):
            if job.kind != 'leaderboard':
                _say(console, f'{job.product} is gone: {job.title} counts as not done')
        command = snakemake_command(plan, jobs, executor, extra)
        todo = jobs_to_run(plan, command)
        if dry:
            show_plan(plan, todo, jobs, console)
            return 0
        _say(console, summary(plan, todo, jobs))
        with Progress(plan, [job.name for job in todo], jobs, console) as progress:
            code = _follow(command, plan, lock, progress) if todo else 0
    return _report(plan, todo, progress, code, console)


def _follow(command: Sequence[str], plan: Plan, lock: int, progress: Progress) -> int:
    """Run Snakemake; its events go to the display, its words to ``snakemake.log``."""
    with plan.path('snakemake.log').open('a', buffering=1, encoding='utf-8') as log:
        log.write(f'$ {shlex.join(command)}\n')
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=_environment(),
            pass_fds=[lock],
        )
        previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            assert process.stdout is not None
            for line in _lines(process.stdout.fileno(), progress):
                event = _event(line)
                if event:
                    progress.handle(event['event'], event['job'])
                else:
                    log.write(line + '\n')
            return process.wait()
        except KeyboardInterrupt:
            progress.say('stopping; run the same command again to go on')
            process.wait()  # the terminal interrupts Snakemake and its jobs as well
            return 130
        finally:
            signal.signal(signal.SIGTERM, previous)


def _lines(descriptor: int, progress: Progress) -> Iterator[str]:
    """Yield lines as they come; let the display tick meanwhile."""
    rest = b''
    while True:
        if not select.select([descriptor], [], [], 1.0)[0]:
            progress.tick()
            continue
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b'\n')
        for line in lines:
            yield line.decode(errors='replace')
        progress.tick()
    if rest:
        yield rest.decode(errors='replace')


def _report(plan: Plan, todo: Sequence[Job], progress: Progress, code: int, console: Console) -> int:
    """Say what failed, how to run that again, and where the leaderboard is."""
    missing = [job for job in todo if not plan.path(job.stamp).exists()]
    for job in progress.failed:
        log = plan.path(job.log)
        lines = log.read_text(errors='replace').splitlines()[-_TAIL:] if log.is_file() else ['(no log)']
        _say(console, '\n'.join([f'\n{job.title} failed; its log {log} ends with', *(f'  | {line}' for line in lines)]))
        _say(console, f'run it again with:\n  {shlex.join(job_command(plan, job))}')
    board = next(job for job in plan.jobs if job.kind == 'leaderboard')
    if missing and code != 130:
        waiting = len(missing) - len(progress.failed)
        _say(console, f'\n{len(progress.failed)} failed, {waiting} not run for what they need is missing')
        if not progress.failed:
            _say(console, f'Snakemake ended with exit status {code}; see {plan.path("snakemake.log")}')
        if board not in progress.failed:
            _build_partly(plan, board, console)
    page = Path(plan.cwd, board.product)
    if page.exists() and not missing:
        _say(console, page.with_name('leaderboard.md').read_text(encoding='utf-8'))
        _say(console, f'Page: {board.product}')
    return 1 if missing or code else 0


def _build_partly(plan: Plan, board: Job, console: Console) -> None:
    """Make the leaderboard of the runs that have finished, if there are any."""
    folders = [str(Path(job.product).parent) for job in plan.jobs if job.kind in ('pretrain', 'finetune')]
    there = [folder for folder in folders if Path(plan.cwd, folder).is_dir()]
    command = [part for part in board.command if part not in folders or part in there]
    done = subprocess.run(command, cwd=plan.cwd, capture_output=True, text=True, check=False)
    if there and done.returncode == 0:
        _say(console, f'Page of the runs that have finished: {board.product}')


def job_command(plan: Plan, job: Job) -> list[str]:
    """Return the command that runs one job, with its log and stamp."""
    return [sys.executable, str(_HERE / 'job.py'), str(Path(plan.work_dir, 'plan.json')), job.name]


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
