"""Extract a backbone: ``python tools/export_backbone.py CHECKPOINT OUT``."""

import argparse

from hgkd_mm.transfer import export_backbone
from hgkd_mm.utils import cli_errors


def main() -> None:
    """Parse arguments and export."""
    parser = argparse.ArgumentParser(description="Write a model's backbone to a file stock code loads.")
    parser.add_argument('checkpoint', help='checkpoint of pretraining or of a downstream model')
    parser.add_argument('out', help='file to write, e.g. backbone.pth')
    args = parser.parse_args()
    meta = export_backbone(args.checkpoint, args.out)
    print(f'{args.out}: backbone of {meta["method"]} after {meta["epochs"]} epochs')


if __name__ == '__main__':
    cli_errors(main)()
