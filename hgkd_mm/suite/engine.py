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
from .stop import Stop

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
    cores = jobs if executor == 'local' else 1
    command += ['--config', f'cores={cores}', f'executor={executor}']
    if executor == 'local':
        command += ['--cores', str(jobs)]
    else:
        command += ['--executor', executor, '--jobs', str(jobs), '--latency-wait', '60']
    if executor == 'slurm':
        if '--slurm-no-requeue' not in extra:
            command += ['--slurm-requeue']  # where it is not the default: every job of ours can be repeated
        if not any(part.startswith('--slurm-status-command') for part in extra):
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
        0; 1 when a job failed; 130 when Ctrl+C and 75 when SIGTERM stopped it.

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
            code, stopped = _follow(command, plan, lock, progress) if todo else (0, False)
    return _report(plan, todo, progress, code, stopped, console)


def _follow(command: Sequence[str], plan: Plan, lock: int, progress: Progress) -> tuple[int, bool]:
    """Run Snakemake; its events go to the display, its words to ``snakemake.log``.

    Returns:
        Exit status, and whether somebody asked to stop.
    """
    with plan.path('snakemake.log').open('a', buffering=1, encoding='utf-8') as log, Stop() as stop:
        log.write(f'$ {shlex.join(command)}\n')
        process = stop.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=_environment(),
            pass_fds=[lock],
            start_new_session=True,  # a terminal's signals are for us to pass on
            # a shell's background job ignores SIGINT, which a child inherits: Snakemake would start job after job
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stdout is not None
        for line in _lines(process.stdout.fileno()):
            if stop.check():
                progress.say('stopping: running jobs save and end, for which they have a minute')
            progress.tick()
            event = _event(line)
            if event and not (event['event'] == 'failed' and stop.received):
                progress.handle(event['event'], event['job'])
            elif line and not event:
                log.write(line + '\n')
        code = process.wait()
        if stop.received:
            stop.wait_for(plan.path(job.log) for job in progress.running())
        return stop.exit_code or code, bool(stop.received)


def _lines(descriptor: int) -> Iterator[str]:
    """Yield lines as they come, and an empty one every second."""
    rest = b''
    while True:
        if not select.select([descriptor], [], [], 1.0)[0]:
            yield ''
            continue
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b'\n')
        for line in lines:
            yield line.decode(errors='replace')
    if rest:
        yield rest.decode(errors='replace')


def _report(plan: Plan, todo: Sequence[Job], progress: Progress, code: int, stopped: bool, console: Console) -> int:
    """Say what failed, how to run that again, and where the leaderboard is."""
    missing = [job for job in todo if not plan.path(job.stamp).exists()]
    for job in progress.failed:
        log = plan.path(job.log)
        lines = log.read_text(errors='replace').splitlines()[-_TAIL:] if log.is_file() else ['(no log)']
        _say(console, '\n'.join([f'\n{job.title} failed; its log {log} ends with', *(f'  | {line}' for line in lines)]))
        _say(console, f'run it again with:\n  {shlex.join(job_command(plan, job))}')
    board = next(job for job in plan.jobs if job.kind == 'leaderboard')
    if missing and not stopped:
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
    if missing and stopped:
        done = sum(plan.path(job.stamp).exists() for job in plan.jobs)
        _say(console, f'stopped; {done} of {len(plan.jobs)} jobs are done. Go on with: {shlex.join(sys.orig_argv)}')
        return code
    return 1 if missing or (code and not stopped) else 0


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
