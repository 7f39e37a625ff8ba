"""Extract a backbone: ``python tools/export_backbone.py CHECKPOINT OUT``."""

import argparse

from hgkd_mm.transfer.formats import Backbone, write_huggingface, write_library, write_mmlab, write_onnx
from hgkd_mm.transfer.supervised import write_supervised
from hgkd_mm.utils import cli_errors


def main() -> None:
    """Parse arguments and export."""
    parser = argparse.ArgumentParser(description="Write a model's backbone to a file stock code loads.")
    parser.add_argument(
        'checkpoint', help='checkpoint of pretraining or of a downstream model; for other formats also a backbone.pth'
    )
    parser.add_argument('out', help='file to write, e.g. backbone.pth; for huggingface a folder')
    parser.add_argument(
        '--format',
        choices=['mmlab', 'torchvision', 'timm', 'huggingface', 'onnx'],
        default='mmlab',
        help='layout of the file, which is run against the original (default: %(default)s)',
    )
    parser.add_argument('--image-size', type=int, default=224, help='onnx: side of the images (default: %(default)s)')
    parser.add_argument(
        '--supervised',
        metavar='STUDENT',
        help="the file is a classifier's of mmpretrain, torchvision or timm over this student, a name in "
        'configs/_base_/students',
    )
    args = parser.parse_args()
    if args.supervised:
        if args.format != 'mmlab':
            parser.error('--supervised writes the format mmlab; export that file to others')
        source = write_supervised(args.checkpoint, args.supervised, args.out)['source']
        print(f'{args.out}: supervised {args.supervised}, from {source["file"]} in the layout of {source["layout"]}')
        return
    if args.format == 'mmlab':
        meta = write_mmlab(args.checkpoint, args.out)
        run = f'computes what {args.checkpoint} computes' if meta['backbone'] else 'not run: its network is not known'
        print(f'{args.out}: backbone of {meta["method"]} after {meta["epochs"]} epochs, {run}')
        return
    backbone = Backbone(args.checkpoint)
    name = backbone.kind
    if args.format == 'huggingface':
        write_huggingface(backbone, args.out)
    elif args.format == 'onnx':
        write_onnx(backbone, args.out, args.image_size)
    else:
        name = write_library(backbone, args.out, args.format)
    print(f'{args.out}: {name}, {args.format} layout, computes what {args.checkpoint} computes')


if __name__ == '__main__':
    cli_errors(main)()
