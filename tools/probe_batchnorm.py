"""Measure what re-estimating BatchNorm on whole images is worth for a sparsely pretrained student."""

import argparse
from pathlib import Path

from hgkd_mm.engine.config import add_cfg_options
from hgkd_mm.transfer.compare_batchnorm import compare_batchnorm
from hgkd_mm.utils import cli_errors, write_block


def main() -> None:
    """Parse the command line, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='pretraining config')
    parser.add_argument('checkpoint', help='its checkpoint or work dir')
    parser.add_argument('--num-batches', type=int, default=20, help='whole-image batches for the re-estimation')
    add_cfg_options(parser)
    parser.add_argument('--document', type=Path, help='Markdown file whose batchnorm block is replaced by the table')
    args = parser.parse_args()
    found = compare_batchnorm(args.config, args.checkpoint, args.num_batches, args.cfg_options)
    table = '\n'.join(
        [
            '| BatchNorm statistics | kNN top-1, dense backbone | linear probe |',
            '|---|---|---|',
            *(
                f'| {label} | {found[f"knn, {name}"]:.1f} % | {found[f"linear, {name}"]:.1f} % |'
                for name, label in (
                    ('training', 'of training, visible patches'),
                    ('re-estimated', f're-estimated on {args.num_batches} batches of whole images'),
                )
            ),
            '',
            f'Median over channels: the mean moves by {found["mean_shift"]:.2f} standard deviations, '
            f'the variance is multiplied by {found["variance_ratio"]:.2f}.',
        ]
    )
    print(table)
    if args.document:
        write_block(args.document, 'batchnorm', table)


if __name__ == '__main__':
    cli_errors(main)()
