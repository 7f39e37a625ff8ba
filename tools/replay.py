"""Repeat a step that a guard stopped: ``python tools/replay.py CONFIG FILE``."""

from hgkd_mm.engine.replay import main
from hgkd_mm.utils import cli_errors

if __name__ == '__main__':
    cli_errors(main)()
