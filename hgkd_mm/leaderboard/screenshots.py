"""Pictures of the page, for the documentation."""

import io
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from ..utils import atomic_write
from .browser import open_browser
from .build import build

COLOURS = 96  # of the palette: small files


def take_screenshots(folders: Iterable[str | os.PathLike], out: str | os.PathLike) -> list[Path]:
    """Build the page in a temporary folder and photograph it: table, an open row, charts, dark, on a phone.

    Args:
        folders: Searched for records.
        out: Folder for ``leaderboard-*.png``.

    Returns:
        Files written.

    Raises:
        HGKDError: No sound record, or no Chromium.
    """
    written = []
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        build(folders, folder)
        address = Path(folder, 'index.html').as_uri()
        desktop: dict[str, Any] = {'viewport': {'width': 1200, 'height': 780}}
        phone: dict[str, Any] = {'viewport': {'width': 390, 'height': 780}, 'is_mobile': True, 'has_touch': True}
        for name, options in (('table', desktop), ('row-dark', desktop | {'color_scheme': 'dark'}), ('phone', phone)):
            page = browser.new_context(**options).new_page()
            page.goto(address)
            page.wait_for_selector('html[data-ready=true]')
            if name == 'row-dark':
                page.locator('button.open').first.click()
                page.locator('#table tr.item').first.scroll_into_view_if_needed()
                page.evaluate("document.querySelector('#table tr.item').scrollIntoView()")
            page.wait_for_timeout(1500)  # the charts
            written.append(_save(page.screenshot(), Path(out, f'leaderboard-{name}.png')))
            if name == 'table':
                written.append(_save(page.locator('#charts').screenshot(), Path(out, 'leaderboard-charts.png')))
            page.close()
    return written


def _save(content: bytes, path: Path) -> Path:
    picture = Image.open(io.BytesIO(content)).convert('RGB').quantize(COLOURS, dither=Image.Dither.NONE)
    with atomic_write(path) as temporary:
        picture.save(temporary, 'PNG', optimize=True)
    return path
