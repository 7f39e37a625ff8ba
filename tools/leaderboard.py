"""Build the leaderboard from result records, check them, compare backbones, show the page."""

import argparse
import sys

from hgkd_mm.leaderboard.build import build
from hgkd_mm.leaderboard.collect import find_runs, make_tables
from hgkd_mm.leaderboard.compare import compare, describe
from hgkd_mm.leaderboard.gather import gather
from hgkd_mm.leaderboard.reported import REPORTED
from hgkd_mm.leaderboard.screenshots import take_screenshots
from hgkd_mm.leaderboard.serve import make_server
from hgkd_mm.leaderboard.verify import TOLERANCE, verify
from hgkd_mm.utils import cli_errors


def run_build(args: argparse.Namespace) -> None:
    built = build(args.folders, args.out, args.readme, args.reported)
    for problem in built.problems:
        print(f'left out: {problem}', file=sys.stderr)
    for path in built.files:
        print(f'wrote {path}')


def run_verify(args: argparse.Namespace) -> None:
    counts = dict.fromkeys(('ok', 'gone', 'wrong'), 0)
    for check in verify(args.folders, args.re_evaluate, args.tolerance):
        counts[check.state] += 1
        if check.state != 'ok' or args.re_evaluate:
            print(f'{check.state:>5}: {check.path}: {check.what}: {check.text}', flush=True)
    print(', '.join(f'{count} {state}' for state, count in counts.items()))
    sys.exit(1 if counts['wrong'] else 0)


def run_gather(args: argparse.Namespace) -> None:
    written, problems = gather(args.folders, args.out)
    for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
    print(f'{len(written)} files in {args.out}')


def run_screenshots(args: argparse.Namespace) -> None:
    for path in take_screenshots(args.folders, args.out):
        print(f'wrote {path}')


def run_compare(args: argparse.Namespace) -> None:
    found = find_runs(args.folders)
    for problem in found.problems:
        print(f'left out: {problem}', file=sys.stderr)
    print(describe(compare(make_tables(found.runs), args.a, args.b), found), end='')


def run_serve(args: argparse.Namespace) -> None:
    with make_server(args.folder, args.port) as server:
        print(f'http://127.0.0.1:{server.server_port}/ (stop with Ctrl+C)', flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)

    command = commands.add_parser('build', help='write the tables, the metadata and the page')
    command.add_argument('folders', nargs='+', metavar='DIR', help='searched for records')
    command.add_argument('--out', required=True, metavar='DIR', help='folder to write to')
    command.add_argument(
        '--readme',
        metavar='FILE',
        help='Markdown file whose block between <!-- leaderboard --> and <!-- /leaderboard --> '
        'is replaced by one table of all tasks',
    )
    command.add_argument('--reported', default=REPORTED, metavar='FILE', help='YAML file with numbers of publications')
    command.set_defaults(run=run_build)

    command = commands.add_parser('verify', help='check seals and files; exit status 1 when something is wrong')
    command.add_argument('folders', nargs='+', metavar='DIR', help='searched for records')
    command.add_argument('--re-evaluate', action='store_true', help='evaluate every checkpoint again and compare')
    command.add_argument(
        '--tolerance', type=float, default=TOLERANCE, help='largest difference in points (default: %(default)s)'
    )
    command.set_defaults(run=run_verify)

    command = commands.add_parser('compare', help='which of two backbones is better where, and by how much')
    command.add_argument('a', metavar='A', help="words of a row's name, or the beginning of its backbone's SHA-256")
    command.add_argument('b', metavar='B', help='the same for the other')
    command.add_argument('folders', nargs='+', metavar='DIR', help='searched for records')
    command.set_defaults(run=run_compare)

    command = commands.add_parser('gather', help='copy records and pictures without weights, to keep or publish them')
    command.add_argument('folders', nargs='+', metavar='DIR', help='searched for records')
    command.add_argument('--out', required=True, metavar='DIR', help='folder to copy to')
    command.set_defaults(run=run_gather)

    command = commands.add_parser('screenshots', help='photograph the page; needs Chromium')
    command.add_argument('folders', nargs='+', metavar='DIR', help='searched for records')
    command.add_argument('--out', required=True, metavar='DIR', help='folder for the PNG files')
    command.set_defaults(run=run_screenshots)

    command = commands.add_parser('serve', help='show a built page on this machine')
    command.add_argument('folder', metavar='DIR', help='what build wrote')
    command.add_argument('--port', type=int, default=8000, help='default: %(default)s')
    command.set_defaults(run=run_serve)
    return parser.parse_args()


@cli_errors
def main() -> None:
    args = parse_args()
    args.run(args)


if __name__ == '__main__':
    main()
