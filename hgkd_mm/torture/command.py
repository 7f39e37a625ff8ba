"""The command ``tools/torture.py``: every torture, a table, an exit code."""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import HGKDError
from ..utils import atomic_write, write_block
from .outcome import Outcome

SEED = 0


def _kills(folder: Path, quick: bool, outcome: Outcome, number: int) -> None:
    from .kills import kill_and_resume

    plan: list[tuple[str, int, list[str]]] = [
        ('pretraining', 13, []),
        ('pretraining', 12, ['num_workers=2']),
        ('fine-tuning', 13, []),
        ('iterations', 12, []),
    ]
    finished = 0
    for index, (name, kills, options) in enumerate(plan[1:3] if quick else plan):
        inner = folder / str(index)
        inner.mkdir()
        wanted = 1 if quick else kills if number == 9 else 3
        done, ended, wrong = kill_and_resume(inner, name, wanted, SEED + index, *options, number=number)
        outcome.tried += done
        finished += ended
        outcome.failures += wrong
    outcome.note = f'{finished} runs finished and compared'


def _sigkill(folder: Path, quick: bool, outcome: Outcome) -> None:
    _kills(folder, quick, outcome, 9)


def _sigterm(folder: Path, quick: bool, outcome: Outcome) -> None:
    _kills(folder, quick, outcome, 15)


def _checkpoints(folder: Path, quick: bool, outcome: Outcome) -> None:
    from .damaged_checkpoints import damage_checkpoints

    outcome.tried = 8 if quick else 30
    outcome.failures = damage_checkpoints(folder, outcome.tried, SEED)


def _inputs(folder: Path, quick: bool, outcome: Outcome) -> None:
    from .inputs import damage_inputs

    outcome.tried = 40 if quick else 200
    outcome.failures = damage_inputs(folder, outcome.tried, SEED)


def _fuzz(folder: Path, quick: bool, outcome: Outcome) -> None:
    from .inputs import fuzz_parsers

    outcome.tried, outcome.failures = fuzz_parsers(folder, 10 if quick else 200, SEED)


def _malicious(folder: Path, quick: bool, outcome: Outcome) -> None:
    from .malicious import try_malicious_files

    outcome.tried, outcome.failures = try_malicious_files(folder)


def _disk(folder: Path, quick: bool, outcome: Outcome) -> None:
    from .disk import fill_disks, fill_writers

    outcome.tried, outcome.failures, how = fill_disks(folder, 2 if quick else 8)
    (folder / 'writers').mkdir()
    writers, wrong = fill_writers(folder / 'writers')
    outcome.tried += writers
    outcome.failures += wrong
    outcome.note = f'trainings on {how} of {2 if quick else 8} sizes, then resumed with room; {writers} other writers'


def _ranks(folder: Path, quick: bool, outcome: Outcome) -> None:
    from .ranks import kill_ranks

    outcome.tried, outcome.failures, outcome.note = kill_ranks(folder, 1 if quick else 3)


def _rank_stops(folder: Path, quick: bool, outcome: Outcome) -> None:
    from .ranks import STOPS, stop_ranks

    outcome.tried, outcome.failures, outcome.note = stop_ranks(folder, 1 if quick else len(STOPS))


def _growth(folder: Path, quick: bool, outcome: Outcome) -> None:
    from .growth import measure_growth

    outcome.tried, outcome.failures, outcome.note = measure_growth(folder, 500 if quick else 2000)


TORTURES: dict[str, tuple[str, str, Callable[[Path, bool, Outcome], None]]] = {
    'kills': ('SIGKILL at a random moment, then resumed', 'final state differs in a bit', _sigkill),
    'stops': ('SIGTERM at a random moment, then resumed', 'final state differs in a bit', _sigterm),
    'checkpoints': ('damaged checkpoints', 'loaded, or the one before not found', _checkpoints),
    'inputs': ('damaged images, annotations, label maps, records', 'ended without a typed error', _inputs),
    'fuzz': ('made-up records, manifests, masks, options', 'ended without a typed error', _fuzz),
    'malicious': ('malicious files', 'executed or written elsewhere', _malicious),
    'disk': ('full disks', 'a result or checkpoint lost', _disk),
    'ranks': ('deaths of a rank of two', 'not ended, not named, or not resumed', _ranks),
    'rank-stops': (
        'SIGTERM to some processes of a run of two, then resumed',
        'another exit code than 75, or final state differs in a bit',
        _rank_stops,
    ),
    'growth': ('iterations', 'memory or handles grow', _growth),
}


def run(names: Sequence[str], quick: bool = False) -> dict[str, Outcome]:
    """Run tortures in folders that are removed again.

    Args:
        names: Of ``TORTURES``.
        quick: The short form of each.

    Returns:
        Outcomes by name.
    """
    outcomes = {}
    for name in names:
        what, promise, action = TORTURES[name]
        outcome, start = Outcome(what, promise), time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            inner = Path(folder, 'torture')
            inner.mkdir()
            action(inner, quick, outcome)
        outcome.seconds = round(time.monotonic() - start, 1)
        outcomes[name] = outcome
        print(f'{name}: {outcome.tried} {what}: {len(outcome.failures)} times {promise}; {outcome.note}', flush=True)
        for failure in outcome.failures[:10]:
            print(f'  {failure}', flush=True)
    return outcomes


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table of outcomes as plain data."""
    lines = ['| What | How often | What must not happen | Happened | Notes | Seconds |', '|---|---:|---|---:|---|---:|']
    for name in TORTURES:
        if name in results:
            one = results[name]
            cells = [one['what'], f'{one["tried"]:,}', one['promise'], str(len(one['failures'])), one['note']]
            lines.append(f'| {" | ".join(cells)} | {one["seconds"]:.0f} |')
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``tools/torture.py``.

    Raises:
        HGKDError: Something that must not happen did.
    """
    parser = argparse.ArgumentParser(description='Kill, starve and feed rubbish; report what was lost.')
    parser.add_argument('--only', nargs='+', choices=list(TORTURES), default=list(TORTURES), metavar='NAME')
    parser.add_argument('--quick', action='store_true', help='the short form of each')
    parser.add_argument('--json', type=Path, help='file of the outcomes; those of tortures not run now stay in it')
    parser.add_argument('--document', type=Path, help='Markdown file whose torture block is replaced by the table')
    args = parser.parse_args(argv)
    import_stack()
    results: dict[str, dict[str, Any]] = {}
    if args.json and args.json.is_file():
        results = json.loads(args.json.read_text(encoding='utf-8'))
    results |= {name: outcome.as_dict() for name, outcome in run(args.only, args.quick).items()}
    if args.json:
        with atomic_write(args.json) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    if args.document:
        write_block(args.document, 'torture', table(results))
    print(table(results))
    if failed := [name for name in args.only if results[name]['failures']]:
        raise HGKDError(f'failed: {", ".join(failed)}')


def import_stack() -> None:
    """Import what a run needs, once, before anything is forked."""
    import mmpretrain.datasets
    import mmpretrain.engine
    import mmpretrain.evaluation
    import mmpretrain.models  # noqa: F401

    import hgkd_mm.engine
    import hgkd_mm.hooks
    import hgkd_mm.models
    import hgkd_mm.torture.growth
    import hgkd_mm.torture.ranks  # noqa: F401
