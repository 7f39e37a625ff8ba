"""Where the time of an encoder's forward and backward pass goes."""

from torch.profiler import ProfilerActivity, profile

from .encoder import Setting, steps, use_threads


def measure_profile(setting: Setting, variant: str = 'packed', rounds: int = 3, top: int = 12) -> list[dict]:
    """List the operators that take most of the time, by PyTorch's profiler.

    Args:
        setting: What to run.
        variant: Of :func:`~hgkd_mm.speed.encoder.available`.
        rounds: Profiled steps, after one to warm up.
        top: Number of operators; one row more holds the rest.

    Returns:
        One row an operator: ``operator``, ``calls`` and ``step_ms`` a step, without the operators it calls, and
        ``share`` of the step in per cent.
    """
    setting.check()
    with use_threads(setting.threads):
        step = steps(setting, variant, backward=True)
        step()
        with profile(activities=[ProfilerActivity.CPU]) as found:
            for _ in range(rounds):
                step()
    events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    rows = [(event.key, event.count, event.self_cpu_time_total) for event in events[:top]]
    rest = events[top:]
    rows.append(('the rest', sum(e.count for e in rest), sum(e.self_cpu_time_total for e in rest)))
    return [
        dict(operator=name, calls=round(count / rounds), step_ms=time / rounds / 1e3, share=100 * time / total)
        for name, count, time in rows
    ]
