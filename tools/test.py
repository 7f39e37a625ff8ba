"""Evaluate a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``; see ``--help``."""

from hgkd_mm.engine import test
from hgkd_mm.utils import cli_errors

if __name__ == '__main__':
    cli_errors(test)()
