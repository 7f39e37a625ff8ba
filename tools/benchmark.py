"""Run a benchmark suite: ``python tools/benchmark.py SUITE``; a second run goes on where the first one ended."""

import argparse
import os
import sys
from pathlib import Path

import torch

from hgkd_mm.suite.engine import run
from hgkd_mm.suite.plan import make_plan
from hgkd_mm.suite.spec import find_suite, load_suite
from hgkd_mm.utils import cli_errors


@cli_errors
def main() -> None:
    """Parse arguments, expand the suite, run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('suite', help='YAML file, or the name of one in configs/suites/')
    parser.add_argument('--dry-run', action='store_true', help='only show the jobs to run and how long they take')
    parser.add_argument('--jobs', type=int, help='jobs at a time (default: one a core; with another executor 100)')
    parser.add_argument('--executor', default='local', help='local, slurm or another Snakemake executor plug-in')
    parser.add_argument('--work-dir', help='folder for everything (default: work_dirs/suites/NAME)')
    parser.epilog = 'What follows -- goes to Snakemake, e.g. -- --default-resources mem_mb=8000'
    words = sys.argv[1:]
    end = words.index('--') if '--' in words else len(words)
    args, extra = parser.parse_args(words[:end]), words[end + 1 :]
    torch.set_num_threads(1)  # as the jobs have, see choose_precision
    usual = len(os.sched_getaffinity(0)) if args.executor == 'local' else 100
    jobs = usual if args.jobs is None else args.jobs
    try:
        path = find_suite(args.suite)
        plan = make_plan(load_suite(path), path.stem, args.work_dir or Path('work_dirs', 'suites', path.stem))
        sys.exit(run(plan, jobs, args.executor, extra, args.dry_run))
    except KeyboardInterrupt:
        print('stopped before a job was started', file=sys.stderr)
        sys.exit(130)


if __name__ == '__main__':
    main()
