"""Show a built page on this machine."""

import functools
import os
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ..errors import ConfigError


def make_server(folder: str | os.PathLike, port: int = 8000) -> ThreadingHTTPServer:
    """Make a server of a folder, for this machine alone (127.0.0.1).

    Args:
        folder: Holds ``index.html``.
        port: 0 takes a free one.

    Raises:
        ConfigError: There is no page, or the port is taken.
    """
    if not Path(folder, 'index.html').is_file():
        raise ConfigError(f'{folder} has no index.html: build the leaderboard first')
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    try:
        return ThreadingHTTPServer(('127.0.0.1', port), handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(f'port {port}: {error}; choose another with --port') from None
