"""Run one job of a suite: ``job.py plan.json NAME``. Only the standard library, for it runs in Snakemake's Python.

The command's output goes to the job's log, which is locked meanwhile: if a suite was killed and left a command
running, the next one waits for it instead of training in the same folder twice. Success is a stamp, written when the
command has exited with 0 and its product exists.

A command that a signal stopped is no failure: it saved what it had. It is started again, or under Slurm its job is
queued again, unless it was we who were asked to stop.
"""

import argparse
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TextIO

#: Exit status of a command, and of us, that was asked to stop and can go on: that of hgkd_mm's ``PreemptedError``.
STOPPED = 75
#: Seconds that a command has for saving and ending once it was asked to stop.
GRACE = 60
#: How often a command that was stopped is started again.
RESTARTS = 10


class Stop:
    """Takes signals: the first asks the command to stop, the next one, or an alarm after :data:`GRACE`, ends it.

    Args:
        forward: Whether we have to tell the command. Slurm tells it itself.
    """

    def __init__(self, forward: bool) -> None:
        self.forward = forward
        self.asked = False
        self.process: subprocess.Popen | None = None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, self._handle)

    def run(self, command: list[str], **options: Any) -> int:
        """Run a command and return its exit status, negative when a signal ended it."""
        # A session of its own: it is told to stop once, by us, and not by the terminal as well.
        self.process = subprocess.Popen(command, start_new_session=True, **options)
        if self.asked:  # meanwhile
            self.process.terminate()
        return self.process.wait()

    def _handle(self, number: int, frame: Any) -> None:
        first, self.asked = not self.asked, True
        if first:
            signal.alarm(GRACE)
        if self.process and not first:
            self.process.kill()
        elif self.process and self.forward:
            self.process.terminate()


def run_job(plan_path: Path, name: str, requeue: bool = False) -> int:
    """Run a job.

    Args:
        plan_path: The suite's ``plan.json``; stamps and logs are beside it.
        name: Of the job.
        requeue: We are a Slurm job of our own, which goes back to the queue when its command was stopped.

    Returns:
        Exit status of its command; 1 when it succeeded and made nothing; :data:`STOPPED`.
    """
    plan = json.loads(plan_path.read_text(encoding='utf-8'))
    (job,) = (job for job in plan['jobs'] if job['name'] == name)
    folder = plan_path.absolute().parent
    product = Path(plan['cwd'], job['product'])
    log = folder / job['log']
    log.parent.mkdir(parents=True, exist_ok=True)
    stop = Stop(forward=not requeue)
    with log.open('a', buffering=1, encoding='utf-8') as file:
        while not stop.asked and not lock(file):
            time.sleep(0.2)
        start, restarts, code = time.time(), 0, STOPPED
        while not stop.asked:
            code = run_command(plan, job, stop, file)
            if code not in (STOPPED, -signal.SIGTERM) or restarts == RESTARTS:
                break
            if requeue:
                if queue_again(file):
                    return STOPPED
                break
            restarts += 1
            if not stop.asked:
                file.write(f'stopped by a signal; started again, {restarts} of at most {RESTARTS} times\n')
        if code == 0 and not product.exists():
            file.write(f'error: exit status 0, but {product} was not written\n')
            code = 1
        elif code == 0:
            content = {'job': name, 'seconds': round(time.time() - start, 1), 'command': job['command']}
            write_stamp(folder / job['stamp'], content)
        elif stop.asked:
            file.write(f'stopped (exit status {code}); the next run of the suite goes on from here\n')
            code = STOPPED
        else:
            file.write(f'error: exit status {code}{f" after {restarts} restarts" if restarts else ""}\n')
        # A status beyond 255 or a signal's negative one would be cut off.
        return code if 0 <= code <= 255 else 1


def run_command(plan: dict, job: dict, stop: Stop, log: TextIO) -> int:
    """Run a job's command once and return its exit status, see :meth:`Stop.run`."""
    place = socket.gethostname() + (f' Slurm job {os.environ["SLURM_JOB_ID"]}' if 'SLURM_JOB_ID' in os.environ else '')
    log.write(f'[{time.strftime("%F %T")} {place}] {" ".join(job["command"])}\n')
    return stop.run(
        job['command'],
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        cwd=plan['cwd'],
        env={**os.environ, 'OMP_NUM_THREADS': str(os.cpu_count() or 1) if job['alone'] else '1'},
    )


def lock(file: TextIO) -> bool:
    """Lock a file, for us and the commands that write to it; False when others have it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def queue_again(log: TextIO) -> bool:
    """Send our Slurm job back to the queue; False when it was cancelled, went back too often, or may not."""
    number, count = os.environ['SLURM_JOB_ID'], int(os.environ.get('SLURM_RESTART_COUNT', 0))
    state = subprocess.run(['squeue', '-h', '-o', '%T', '-j', number], capture_output=True, text=True, check=False)
    if state.stdout.strip() != 'RUNNING' or count >= RESTARTS:
        return False
    log.write(f'stopped by a signal; queued again, {count + 1} of at most {RESTARTS} times\n')
    done = subprocess.run(['scontrol', 'requeue', number], capture_output=True, text=True, check=False)
    if done.returncode:
        log.write(f'scontrol requeue: {done.stderr}\n')
    return done.returncode == 0


def write_stamp(path: Path, content: dict) -> None:
    """Write a stamp; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    temporary.write_text(json.dumps(content) + '\n', encoding='utf-8')
    os.replace(temporary, path)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('plan', type=Path)
    parser.add_argument('name')
    parser.add_argument('--requeue', action='store_true', help='this is a Slurm job of its own')
    args = parser.parse_args()
    sys.exit(run_job(args.plan, args.name, args.requeue))
