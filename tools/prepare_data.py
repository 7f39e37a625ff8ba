"""Make a data set ready for training, or check one: ``python tools/prepare_data.py NAME``."""

import argparse
from pathlib import Path

from hgkd_mm.datasets.checks import check_ade20k, check_coco, check_imagenet, write_subset
from hgkd_mm.datasets.checks.report import write_manifest
from hgkd_mm.datasets.cutoutscenes import prepare_cutoutscenes
from hgkd_mm.datasets.cutoutscenes.summary import summary_table
from hgkd_mm.utils import cli_errors, write_block

CHECKS = {
    'imagenet': (check_imagenet, 'data/imagenet'),
    'coco': (check_coco, 'data/coco'),
    'ade20k': (check_ade20k, 'data/ade/ADEChallengeData2016'),
}


def add_check_options(names: argparse._SubParsersAction) -> None:
    """Add a command for each data set that people bring themselves."""
    for name, (_, root) in CHECKS.items():
        check = names.add_parser(name, help=f'check {root}: what is missing or wrong; nothing is moved')
        check.add_argument('--root', type=Path, default=Path(root), help='folder of the data (default: %(default)s)')
        check.add_argument('--manifest', type=Path, help='file for the counts and hashes (default: ROOT/manifest.json)')
        check.add_argument('--workers', type=int, default=8, help='threads that read files (default: %(default)s)')
        if name == 'ade20k':
            check.add_argument('--own', type=int, metavar='CLASSES', help='your own data, with so many classes')
        else:
            check.add_argument('--own', action='store_true', help='your own data in this layout: any counts and names')
        if name == 'imagenet':
            check.add_argument(
                '--subset',
                type=float,
                nargs='+',
                default=[],
                metavar='PERCENT',
                help='also list a fixed share of each class in ROOT/meta/train_PERCENTpercent.txt',
            )


def run_check(args: argparse.Namespace) -> None:
    """Check a data set, say what it has, write its manifest and lists."""
    manifest = CHECKS[args.name][0](args.root, args.own, args.workers)
    counts = ', '.join(f'{split["images"]:,} {name}' for name, split in manifest['splits'].items())
    print(f'{args.root}: {manifest["name"]} is complete: {counts}')
    for percent in getattr(args, 'subset', []):
        print(f'wrote {write_subset(args.root, percent)}')
    path = args.manifest or args.root / 'manifest.json'
    write_manifest(path, manifest)
    print(f'wrote {path}')


def main() -> None:
    """Parse arguments and prepare or check."""
    parser = argparse.ArgumentParser(description='Make a data set ready for training, or check one.')
    names = parser.add_subparsers(dest='name', required=True)
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
    add_check_options(names)
    parsed = parser.parse_args()
    if parsed.name in CHECKS:
        run_check(parsed)
        return
    args = vars(parsed)
    args.pop('name')
    document = args.pop('document')
    args['out'] = args['out'] or Path('data/cutoutscenes') / f'fold{args["fold"]}'
    out = prepare_cutoutscenes(**args)
    if document:
        write_block(document, 'numbers', summary_table(out))


if __name__ == '__main__':
    cli_errors(main)()
