"""Code of toy jobs, which knows ``product`` and ``Path``, and what tests do while one runs."""

import threading
import time

WRITE = 'product.write_text("x")'
BOARD = WRITE + '; product.with_name("leaderboard.md").write_text("| the table |")'
#: Trains until it is told to stop, saves, and is done when it is run again.
SAVING = f"""
import signal, time
def save(number, frame):
    Path("saved").touch()
    exit(75)
signal.signal(signal.SIGTERM, save)
Path("started").touch()
if not Path("saved").exists():
    time.sleep(120)
{WRITE}
"""


def when_there(path, act):
    """Do something in a thread as soon as a file is there."""

    def wait():
        while not path.exists():
            time.sleep(0.05)
        act()

    threading.Thread(target=wait).start()
