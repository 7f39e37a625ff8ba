"""Kill, starve and feed rubbish; report what was lost: ``python tools/torture.py``."""

from hgkd_mm.torture.command import main
from hgkd_mm.utils import cli_errors

if __name__ == '__main__':
    cli_errors(main)()
