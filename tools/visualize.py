"""Draw token maps, detections, segmentations or curves of a trained model: see ``--help``."""

import argparse

from hgkd_mm.engine.config import add_cfg_options
from hgkd_mm.utils import cli_errors
from hgkd_mm.visualization import draw_detections, draw_explained_variance, draw_segmentations, draw_tokens

DRAW = {'tokens': draw_tokens, 'detections': draw_detections, 'segmentations': draw_segmentations}


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    for name, function in DRAW.items():
        command = commands.add_parser(name, help=(function.__doc__ or '').splitlines()[0])
        command.add_argument('config')
        command.add_argument('checkpoint')
        command.add_argument('--indices', type=int, nargs='+', help='samples to draw; six without it')
        add_cfg_options(command)
        command.add_argument('--out', required=True, help='PNG to write')
        if function is draw_tokens:
            command.add_argument('--unseen', action='store_true', help='images that are not trained on, by class')
    command = commands.add_parser('explained-variance', help='curve of a distillation run')
    command.add_argument('work_dir')
    command.add_argument('--out', required=True, help='PNG to write')
    args = parser.parse_args()
    if args.command == 'explained-variance':
        path = draw_explained_variance(args.work_dir, args.out)
    else:
        more = {'unseen': args.unseen} if args.command == 'tokens' else {}
        more |= {'indices': args.indices} if args.indices else {}
        path = DRAW[args.command](args.config, args.checkpoint, args.out, args.cfg_options, **more)
    print(f'wrote {path}')


if __name__ == '__main__':
    cli_errors(main)()
