"""A headless Chromium, for tests and pictures of the page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import HGKDError

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
)  # fmt: skip


@contextmanager
def open_browser() -> Iterator[Any]:
    """Start the installed Chromium; Playwright drives it and downloads nothing.

    Raises:
        HGKDError: There is none.
    """
    if CHROMIUM is None:
        raise HGKDError('no chromium on this machine: apt-get install chromium')
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
