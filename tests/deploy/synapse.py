"""A stand-in for Synapse that hands requests on where a registration said when it was started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import yaml
from attrs import define, field

from tests.deploy.madeup import Host
from tests.real.processes import Answer, http

AS_TOKEN, HS_TOKEN = "as-0123456789", "hs-0123456789"
PATH = "etc/matrix-synapse/lk-jwt-service.yaml"
KEY = "io.element.msc4512.proxy_url"
REGISTRATION = f"""\
# io.element.msc4512.proxy_url: http://127.0.0.1:1  (an old one)
id: lk-jwt-service
as_token: "{AS_TOKEN}"
hs_token: "{HS_TOKEN}"
io.element.msc4512.proxy_prefix:   rtc/livekit
'{KEY}': "http://localhost:%s/"   # lk-jwt-service's own port
sender_localpart: _lk_jwt_service\r
namespaces: {{}}"""


@define(eq=False)
class Synapse:
    """Hands everything on, as from a user of its own."""

    path: Path
    server: ThreadingHTTPServer
    leads_to: str = field(default="")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def restart(self) -> None:
        """Read the registration."""
        self.leads_to = yaml.safe_load(self.path.read_text())[KEY].rstrip("/")

    def ask(self) -> Answer:
        return http("POST", f"{self.url}/sfu/get", b'{"room": "!a:b"}', seconds=10)

    @property
    def answers(self) -> str:
        """Which made-up release its requests come to; empty for lk-jwt-service itself."""
        answer = self.ask()
        assert answer.status == 200, answer
        return answer.headers.get("X-Version", "")


@contextmanager
def synapse_of(host: Host, port: int | None = None) -> Iterator[Synapse]:
    """Let lk-jwt-service of a host be an application service of a Synapse."""
    path = host.root / PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((REGISTRATION % (port or host.ports[8070])).encode())
    path.chmod(0o640)
    name_registration(host, f"LIVEKIT_AS_REGISTRATION_FILE=/{PATH}")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            base = urlsplit(made.leads_to)
            connection = HTTPConnection(base.hostname or "", base.port, timeout=10)
            headers = {"Authorization": f"Bearer {HS_TOKEN}", "X-Matrix-User-Identifier": "@a:b"}
            try:
                connection.request("POST", self.path, body, headers)
                answer = connection.getresponse()
                self._reply(answer.status, answer.read(), answer.headers.get("X-Version"))
            except (OSError, HTTPException):
                self._reply(500, b"{}", None)
            finally:
                connection.close()

        def _reply(self, status: int, body: bytes, version: str | None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if version is not None:
                self.send_header("X-Version", version)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Synapse(path, server)
        made.restart()
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def name_registration(host: Host, assignment: str) -> None:
    """Tell lk-jwt-service of its registration, in a file, as packagers do."""
    (host.root / "etc/matrix-synapse/jwt.env").write_text(f"{assignment}\n")
    unit = host.root / "lib/systemd/system/lk-jwt-service.service"
    line = "EnvironmentFile=-/etc/matrix-synapse/jwt.env\n"
    if line not in unit.read_text():
        unit.write_text(unit.read_text().replace("ExecStart=", f"{line}ExecStart="))
    host.systemd.ask("daemon-reload")


def expected(host: Host, port: int) -> bytes:
    """The registration with another address of lk-jwt-service or of the guard."""
    text = (REGISTRATION % port).encode()
    if port == host.ports[8069]:
        text = text.replace(b"http://localhost:", b"http://127.0.0.1:")
    return text


def owner_of(path: Path) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_mode, found.st_uid, found.st_gid
