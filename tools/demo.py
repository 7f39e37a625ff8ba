"""Run the whole chain on the embedded benchmark; finished steps are not repeated."""

from hgkd_mm.demo import main
from hgkd_mm.utils import cli_errors

if __name__ == '__main__':
    cli_errors(main)()
