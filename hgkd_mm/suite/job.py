"""Run one job of a suite: ``job.py plan.json NAME``. Only the standard library, for it runs in Snakemake's Python.

The command's output goes to the job's log, which is locked meanwhile: if a suite was killed and left a command
running, the next one waits for it instead of training in the same folder twice. Success is a stamp, written when the
command has exited with 0 and its product exists.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def run_job(plan_path: Path, name: str) -> int:
    """Run a job unless its stamp is there.

    Args:
        plan_path: The suite's ``plan.json``; stamps and logs are beside it.
        name: Of the job.

    Returns:
        Exit status of its command; 1 when it succeeded and made nothing.
    """
    plan = json.loads(plan_path.read_text(encoding='utf-8'))
    (job,) = (job for job in plan['jobs'] if job['name'] == name)
    folder = plan_path.absolute().parent
    stamp, log = folder / job['stamp'], folder / job['log']
    product = Path(plan['cwd'], job['product'])
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('a', buffering=1, encoding='utf-8') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        start = time.time()
        place = socket.gethostname() + (
            f' Slurm job {os.environ["SLURM_JOB_ID"]}' if 'SLURM_JOB_ID' in os.environ else ''
        )
        file.write(f'[{time.strftime("%F %T")} {place}] {" ".join(job["command"])}\n')
        threads = str(os.cpu_count() or 1) if job['alone'] else '1'
        process = subprocess.Popen(
            job['command'],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=plan['cwd'],
            env={**os.environ, 'OMP_NUM_THREADS': threads},
        )
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, lambda number, _: process.send_signal(number))
        code = process.wait()
        if code == 0 and not product.exists():
            file.write(f'error: exit status 0, but {product} was not written\n')
            code = 1
        elif code:
            file.write(f'error: exit status {code}\n')
        else:
            content = {'job': name, 'seconds': round(time.time() - start, 1), 'command': job['command']}
            write_stamp(stamp, content)
        # A status beyond 255 or a signal's negative one would be cut off.
        return code if 0 <= code <= 255 else 1


def write_stamp(path: Path, content: dict) -> None:
    """Write a stamp; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    temporary.write_text(json.dumps(content) + '\n', encoding='utf-8')
    os.replace(temporary, path)


if __name__ == '__main__':
    sys.exit(run_job(Path(sys.argv[1]), sys.argv[2]))
