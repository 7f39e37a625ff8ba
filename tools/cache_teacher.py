"""Compute the teacher's tokens once: ``python tools/cache_teacher.py CONFIG``; see ``--help``."""

from hgkd_mm.engine.cache_teacher import cache_teacher
from hgkd_mm.utils import cli_errors

if __name__ == '__main__':
    cli_errors(cache_teacher)()
