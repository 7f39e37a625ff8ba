"""Write a teacher's tokens to the disk before training: ``python tools/cache_teacher.py CONFIG``; see ``--help``."""

from hgkd_mm.engine.cache import cache_teacher
from hgkd_mm.utils import cli_errors


@cli_errors
def main() -> None:
    """Fill the cache and say where it is."""
    print(f'{cache_teacher()}: complete')


if __name__ == '__main__':
    main()
