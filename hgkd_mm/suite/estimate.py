"""How long a suite takes: seconds of jobs by what finished ones took, then the time of all on so many cores."""

import heapq
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Collection, Mapping

from .plan import Job, Plan

_STEP = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]')


def expected_seconds(plan: Plan) -> dict[str, float]:
    """Return the seconds that each job is expected to take.

    A job takes as long as finished ones of its group did; where there are none, what the suite says, corrected by the
    pace of this machine, which is what finished jobs took over what the suite said about them.
    """
    taken = defaultdict(list)
    said = spent = 0.0
    for job in plan.jobs:
        seconds = _stamped(plan, job)
        if seconds is not None:
            taken[job.group].append(seconds)
            said, spent = said + job.work, spent + seconds
    pace = spent / said if said > 60 else 1.0
    return {job.name: statistics.median(taken[job.group]) if taken[job.group] else pace * job.work for job in plan.jobs}


def _stamped(plan: Plan, job: Job) -> float | None:
    try:
        seconds = json.loads(plan.path(job.stamp).read_text(encoding='utf-8'))['seconds']
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(seconds)


def makespan(jobs: Collection[Job], seconds: Mapping[str, float], lanes: int) -> float:
    """Return the seconds until the last job ends, when each starts as soon as it can on one of ``lanes`` cores.

    Args:
        jobs: Those left, in an order in which they can run; what else they need is done.
        seconds: Of each.
        lanes: Jobs at a time; one that has to be alone waits for all of them.
    """
    free = [0.0] * max(1, lanes)
    end: dict[str, float] = {}
    for job in jobs:
        ready = max((end.get(need, 0.0) for need in job.needs), default=0.0)
        if job.alone:
            start = max(ready, *free, 0.0)
            free = [start + seconds[job.name]] * len(free)
        else:
            start = max(ready, heapq.heappop(free))
            heapq.heappush(free, start + seconds[job.name])
        end[job.name] = start + seconds[job.name]
    return max(end.values(), default=0.0)


def share_done(log: str, epochs: int) -> float:
    """Return the share, 0 to 1, of a training run that its log shows."""
    found = _STEP.findall(log)
    if not found or not epochs:
        return 0.0
    epoch, batch, batches = map(int, found[-1])
    return min(1.0, (epoch - 1 + batch / max(1, batches)) / epochs)


def duration(seconds: float) -> str:
    """Write seconds for people: ``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes // 60} h {minutes % 60:02d} min'
