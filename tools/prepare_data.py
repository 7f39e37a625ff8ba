"""Make a data set ready for training: ``python tools/prepare_data.py cutoutscenes``."""

import argparse
from pathlib import Path

from hgkd_mm.datasets.cutoutscenes import prepare_cutoutscenes
from hgkd_mm.datasets.cutoutscenes.summary import summary_table
from hgkd_mm.utils import cli_errors, write_block


def main() -> None:
    """Parse arguments and prepare."""
    parser = argparse.ArgumentParser(description='Make a data set ready for training.')
    names = parser.add_subparsers(dest='name', required=True, metavar='NAME')
    scenes = names.add_parser(
        'cutoutscenes',
        help='the embedded benchmark: classification, detection and segmentation labels',
    )
    scenes.add_argument('--out', type=Path, help='folder to make (default: data/cutoutscenes/foldN)')
    scenes.add_argument('--fold', type=int, default=0, help='fold to validate on, 0 to 4 (default: %(default)s)')
    scenes.add_argument('--seed', type=int, default=0, help='seed of the scenes (default: %(default)s)')
    scenes.add_argument('--size', type=int, default=128, help='side of the scenes in pixels (default: %(default)s)')
    scenes.add_argument('--train', type=int, default=2530, help='number of training scenes (default: %(default)s)')
    scenes.add_argument('--val', type=int, default=440, help='number of validation scenes (default: %(default)s)')
    scenes.add_argument(
        '--unlabeled',
        type=int,
        default=5280,
        help='number of pretraining scenes (default: %(default)s)',
    )
    scenes.add_argument(
        '--source',
        type=Path,
        help='compose from DIR/cutouts/<class>/*.png (RGBA) and DIR/backgrounds/*.{jpg,png} instead of Debian packages',
        metavar='DIR',
    )
    scenes.add_argument('--force', action='store_true', help='make it anew, replacing the data set that is there')
    scenes.add_argument('--workers', type=int, help='number of processes (default: one a processor)')
    scenes.add_argument('--document', type=Path, help='Markdown file whose numbers block is replaced by the counts')
    args = vars(parser.parse_args())
    args.pop('name')
    document = args.pop('document')
    args['out'] = args['out'] or Path('data/cutoutscenes') / f'fold{args["fold"]}'
    out = prepare_cutoutscenes(**args)
    if document:
        write_block(document, 'numbers', summary_table(out))


if __name__ == '__main__':
    cli_errors(main)()
