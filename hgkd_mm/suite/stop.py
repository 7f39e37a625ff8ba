"""Ends a running suite in good order: Ctrl+C, SIGTERM, a terminal that is closed."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import PreemptedError
from .job import GRACE, lock

#: Seconds after which nothing may run any more; jobs end earlier by themselves.
_LIMIT = GRACE + 30.0


class Stop:
    """Takes signals while Snakemake runs; :meth:`check` passes them on.

    Snakemake gets SIGINT: it starts nothing more and cancels what it has on a cluster. So do the scripts of local jobs,
    which share its process group: they let their commands save and end, see :mod:`.job`.

    Attributes:
        received: Signals so far.
        process: Snakemake, once it runs; leader of its process group.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self.process: subprocess.Popen | None = None
        self.passed_on = 0
        self.deadline = float('inf')
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> 'Stop':
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                self.previous[number] = signal.signal(number, lambda number, _: self.received.append(number))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def check(self) -> bool:
        """Pass on what came since the last time; return whether this was the first signal."""
        if time.monotonic() > self.deadline:
            self._signal(signal.SIGKILL)
        if len(self.received) == self.passed_on:
            return False
        self.passed_on += 1
        self._signal(signal.SIGINT)
        if self.passed_on == 1:
            self.deadline = time.monotonic() + _LIMIT
        return self.passed_on == 1

    def wait_for(self, logs: Iterable[Path]) -> None:
        """Wait until nothing writes to jobs' logs any more, as cancelled jobs of a cluster do for a while."""
        for path in logs:
            while path.exists() and time.monotonic() < self.deadline and len(self.received) == self.passed_on:
                with path.open('a') as file:
                    if lock(file):
                        break
                time.sleep(0.5)

    @property
    def exit_code(self) -> int:
        """What we end with: 130 after Ctrl+C, else as a training that was asked to stop; 0 when nobody asked."""
        if not self.received:
            return 0
        return 130 if self.received[0] == signal.SIGINT else PreemptedError.exit_code

    def _signal(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
