"""Compare the speed of the sparse backends with the dense network on this machine."""

import argparse

import torch

from hgkd_mm.sparse.speed import measure
from hgkd_mm.utils import cli_errors


def main() -> None:
    """Parse the command line, measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--depth', type=int, default=18)
    parser.add_argument('--widths', type=int, nargs='+', default=[32, 64], help='channels of the stem')
    parser.add_argument('--img-size', type=int, default=128)
    parser.add_argument('--batch-size', type=int, default=32)
    parser.add_argument('--mask-ratio', type=float, default=0.6)
    parser.add_argument('--rounds', type=int, default=5)
    args = vars(parser.parse_args())
    print(f'ResNet-{args["depth"]}, {args["img_size"]} px, forward and backward, {torch.get_num_threads()} threads\n')
    print('| width | backend | ms/image (median) | speed-up over dense |\n|---|---|---|---|')
    for width in args.pop('widths'):
        times = measure(width=width, **args)
        for name, milliseconds in times.items():
            print(f'| {width} | {name} | {milliseconds:.1f} | {times["dense"] / milliseconds:.2f} |', flush=True)


if __name__ == '__main__':
    cli_errors(main)()
