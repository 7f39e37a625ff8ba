"""Measure how long building a leaderboard takes and how fast its page is in Chromium."""

import argparse
from pathlib import Path

from hgkd_mm.leaderboard.speed import measure, report
from hgkd_mm.utils import cli_errors, write_block


@cli_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--records', type=int, default=10_000, help='made-up ones (default: %(default)s)')
    parser.add_argument(
        '--write', type=Path, metavar='FILE', help='document whose leaderboard-speed block gets the table'
    )
    args = parser.parse_args()
    text = report(args.records, measure(args.records))
    print(text)
    if args.write:
        write_block(args.write, 'leaderboard-speed', text)


if __name__ == '__main__':
    main()
