"""Build the leaderboard from result records."""

import argparse
import sys

from hgkd_mm.leaderboard.render import build
from hgkd_mm.utils import cli_errors


@cli_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    command = commands.add_parser('build', help='make leaderboard.md, leaderboard.csv and index.html')
    command.add_argument('folders', nargs='+', metavar='DIR', help='searched for result.json')
    command.add_argument('--out', required=True, metavar='DIR', help='folder to write to')
    command.add_argument('--pictures', metavar='DIR', help='PNG files to show in the page')
    command.add_argument(
        '--readme',
        metavar='FILE',
        help='Markdown file whose block between <!-- leaderboard --> and <!-- /leaderboard --> '
        'is replaced by the table',
    )
    args = parser.parse_args()
    built = build(args.folders, args.out, args.pictures, args.readme)
    for problem in built.problems:
        print(f'left out: {problem}', file=sys.stderr)
    for path in built.files:
        print(f'wrote {path}')


if __name__ == '__main__':
    main()
