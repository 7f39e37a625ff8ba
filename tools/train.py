"""Train a model: ``python tools/train.py CONFIG``; see ``--help``."""

from hgkd_mm.engine import train
from hgkd_mm.utils import cli_errors

if __name__ == '__main__':
    cli_errors(train)()
