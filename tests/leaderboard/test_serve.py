import threading
import urllib.request

import pytest

from hgkd_mm.errors import ConfigError
from hgkd_mm.leaderboard.serve import make_server


def test_page_is_served_on_this_machine_alone(tmp_path):
    (tmp_path / 'index.html').write_text('hello')
    with make_server(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert server.server_address[0] == '127.0.0.1'
        with urllib.request.urlopen(f'http://127.0.0.1:{server.server_port}/', timeout=10) as answer:
            assert answer.read() == b'hello'
        with pytest.raises(ConfigError, match=f'port {server.server_port}: .*--port'):
            make_server(tmp_path, server.server_port)
        server.shutdown()


def test_folder_without_a_page_is_named(tmp_path):
    with pytest.raises(ConfigError, match='has no index.html: build the leaderboard first'):
        make_server(tmp_path)
