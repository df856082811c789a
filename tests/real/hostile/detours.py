"""Beside the stack, for hostile tests: a homeserver of a client's own, a lame way to Synapse."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from attrs import define, field

from tests.real.processes import http

LONGEST = 30.0
"""No request hangs longer."""


class _Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _AnyUser(_Quiet):
    """Federation's OpenID: whoever asks is who their token says."""

    def do_GET(self) -> None:
        token = parse_qs(urlsplit(self.path).query)["access_token"][0]
        self.answer(200, json.dumps({"sub": token}).encode())


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5.0)


@contextmanager
def own_homeserver(host: str, ports: tuple[int, ...], certificates: Path) -> Iterator[None]:
    """Serve homeservers on these ports of a host, with users of any name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
    with ExitStack() as ends:
        for port in ports:
            server = ThreadingHTTPServer((host, port), _AnyUser)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            ends.enter_context(serving(server))
        yield


@define(eq=False)
class Detour:
    """A way to Synapse on which some requests hang."""

    target: str = ""
    hangs: str = ""
    """Requests with this in their path are never answered."""
    over: threading.Event = field(factory=threading.Event)
    server: ThreadingHTTPServer = field(init=False)

    def __attrs_post_init__(self) -> None:
        detour = self

        class Handler(_Quiet):
            def do_GET(self) -> None:
                if detour.hangs and detour.hangs in self.path:
                    detour.over.wait(LONGEST)
                    return
                headers = {"Authorization": self.headers.get("Authorization", "")}
                got = http("GET", detour.target + self.path, None, headers)
                self.answer(got.status, got.body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def detour_to_synapse() -> Iterator[Detour]:
    """Open a way to a Synapse that is named later."""
    made = Detour()
    with serving(made.server):
        try:
            yield made
        finally:
            made.over.set()
