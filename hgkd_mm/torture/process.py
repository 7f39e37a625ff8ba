"""Runs of ``tools/train.py`` in processes that can be killed, without paying for the imports each time."""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..errors import HGKDError


class Ended(NamedTuple):
    """How a process ended.

    ``code`` is the exit code, negative for a signal; ``output`` what it wrote; ``seconds`` how long it ran.
    """

    code: int
    output: str
    seconds: float


class Child:
    """A process forked from this one, which must not have computed anything in several threads yet.

    Args:
        body: Runs in the child. A typed error becomes its exit code, as on the command line.
        log: File for its output.
    """

    def __init__(self, body: Callable[[], object], log: str | os.PathLike) -> None:
        self.log = Path(log)
        self.start = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _run(body, self.log)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, unless the process is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, seconds: float | None = None) -> Ended | None:
        """Wait for the end.

        Args:
            seconds: At most so long; None waits for ever.

        Returns:
            How it ended, or None when it still runs.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, 0 if until is None else os.WNOHANG)
            if pid:
                output = self.log.read_text(encoding='utf-8', errors='replace')
                return Ended(os.waitstatus_to_exitcode(status), output, time.monotonic() - self.start)
            if until is not None and time.monotonic() >= until:
                return None
            time.sleep(0.002)


def _run(body: Callable[[], object], log: Path) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        # a test runner may have put other files in their place
        sys.stdout, sys.stderr = (os.fdopen(number, 'w', buffering=1, closefd=False) for number in (1, 2))
        os.environ['OMP_NUM_THREADS'] = '1'
        import torch

        torch.set_num_threads(1)
        body()
        code = 0
    except HGKDError as error:
        sys.stderr.write(f'error: {error}\n')
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def train_child(config: Path, work_dir: Path, *options: str, log: Path | None = None) -> Child:
    """Start a training of a subject that goes on from whatever is in its work dir.

    Args:
        config: Of :func:`~hgkd_mm.torture.subject.write_config`.
        work_dir: Its folder.
        options: As ``--cfg-options``.
        log: File for its output; None puts it beside the folder.
    """
    from ..engine import train

    work_dir.parent.mkdir(parents=True, exist_ok=True)
    argv = [str(config), '--work-dir', str(work_dir), '--resume']
    argv += ['--cfg-options', *options] if options else []
    return Child(lambda: train(argv), log or work_dir.with_suffix('.log'))
