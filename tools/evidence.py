"""Write the generated parts of docs/evidence.md from result records: ``python tools/evidence.py docs/records``."""

import argparse
import sys
from pathlib import Path

from hgkd_mm.evidence.page import write_page
from hgkd_mm.utils import cli_errors


@cli_errors
def main() -> None:
    """Parse arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folders', nargs='+', metavar='DIR', help='has a folder of records for every suite')
    parser.add_argument('--document', default='docs/evidence.md', type=Path, help='default: %(default)s')
    args = parser.parse_args()
    for problem in write_page(args.folders, args.document):
        print(f'left out: {problem}', file=sys.stderr)
    print(f'wrote {args.document}')


if __name__ == '__main__':
    main()
