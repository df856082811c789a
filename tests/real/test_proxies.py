"""What docs/proxies.md says of nginx and of Nginx Proxy Manager, by a real nginx."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.neighbours import frame
from bench.tools import Missing, program
from tests.real.conftest import require_real
from tests.real.processes import ROOT, Process, free_port, http

PAGE = (ROOT / "docs/proxies.md").read_text()
PREFIX, PATHS = "/livekit/jwt", ("/get_token", "/sfu/get", "/delegate_delayed_leave")
# backend/templates/_location.conf of Nginx Proxy Manager; what is behind a slash in the host it
# puts behind the port (internal/nginx.js).
LOCATION = "location {path} {{ proxy_pass http://127.0.0.1:{port}{behind}; }}"


class Echo(BaseHTTPRequestHandler):
    """Stands where the guard does: answers with the path that it was asked for."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = f"{self.path} {self.headers.get('X-Forwarded-For', '')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def guard() -> Iterator[int]:
    require_real()
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def nginx(directory: Path, locations: str) -> Iterator[str]:
    """Run a server with these locations; gives its address."""
    try:
        program("nginx")
    except Missing as missing:
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    port = free_port()
    inner = f"server {{ listen 127.0.0.1:{port}; {locations} }}"
    process = Process("nginx", frame(directory, "proxy", inner), directory, port)
    process.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


def arrives(url: str) -> str:
    return http("POST", url, b"{}").body.decode().split()[0]


def test_the_lines_for_nginx_take_the_prefix_off(guard: int, tmp_path: Path) -> None:
    (block,) = re.findall(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
    with nginx(tmp_path, block.replace("127.0.0.1:8070", f"127.0.0.1:{guard}")) as url:
        for path in PATHS:
            assert arrives(f"{url}{PREFIX}{path}") == path
        assert arrives(f"{url}{PREFIX}//get_token") == "/get_token"
        answer = http("POST", f"{url}{PREFIX}/get_token", b"{}")
        assert answer.body.decode().split()[1] == "127.0.0.1"


def npm(path: str, host: str, port: int) -> str:
    """Write a custom location as Nginx Proxy Manager does."""
    behind = f"/{host.partition('/')[2]}" if "/" in host else ""
    return LOCATION.format(path=path, port=port, behind=behind)


def test_a_location_without_a_slash_hands_the_path_on(guard: int, tmp_path: Path) -> None:
    locations = " ".join(npm(path, "address", guard) for path in PATHS)
    with nginx(tmp_path, locations) as url:
        for path in PATHS:
            assert arrives(f"{url}{path}") == path
        assert arrives(f"{url}/get_token_x") == "/get_token_x"


def test_a_slash_behind_the_address_breaks_it(guard: int, tmp_path: Path) -> None:
    with nginx(tmp_path, npm("/get_token", "address/", guard)) as url:
        assert arrives(f"{url}/get_token") == "/"


def test_two_slashes_take_the_prefix_off(guard: int, tmp_path: Path) -> None:
    with nginx(tmp_path, npm(f"{PREFIX}/", "address/", guard)) as url:
        for path in PATHS:
            assert arrives(f"{url}{PREFIX}{path}") == path
