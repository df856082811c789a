"""The guard of a made-up release: hands everything on, starts in a blink, fails as it is told.

`BEHAVIOUR` is replaced when a release is made. It is both `twistd` and `lotus-guard`.
"""

import json
import os
import re
import signal
import socket
import sqlite3
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BEHAVIOUR = "good"
VERSION = "0"
STATE = Path(os.environ.get("STATE_DIRECTORY", ".")) / "lotus-guard.sqlite"


_busy = 0
_counting = threading.Lock()


def count(change: int) -> None:
    global _busy
    with _counting:
        _busy += change


def crash() -> None:
    """End by itself, between two requests: what is lost with one no deployer can help."""
    while True:
        with _counting:
            if not _busy:
                os._exit(1)


class Handler(BaseHTTPRequestHandler):
    def handle(self) -> None:
        try:
            super().handle()
        finally:
            count(-1)  # the server counted it when it was accepted

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.turns_away():
            return
        if BEHAVIOUR == "fails" and self.path == "/sfu/get":
            self._reply(500, b'{"errcode": "M_UNKNOWN"}')
            return
        upstream = urlsplit(os.environ.get("LOTUS_GUARD_UPSTREAM", "http://127.0.0.1:8071"))
        connection = HTTPConnection(upstream.hostname or "", upstream.port, timeout=10)
        try:
            connection.request(self.command, self.path, body)
            answer = connection.getresponse()
            self._reply(answer.status, answer.read())
        except OSError:
            self._reply(502, b'{"errcode": "M_UNKNOWN"}')
        finally:
            connection.close()

    do_GET = do_POST = do_OPTIONS = _hand_on

    def turns_away(self) -> bool:
        """The public port knows nothing of what homeservers hand on."""
        if "X-Matrix-User-Identifier" not in self.headers:
            return False
        self._reply(404, b'{"errcode": "M_UNRECOGNIZED"}')
        return True

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version", VERSION)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class ForHomeserver(Handler):
    def turns_away(self) -> bool:
        path = os.environ.get("LIVEKIT_AS_REGISTRATION_FILE")
        token = re.search(r'^hs_token: "?([\w-]+)', Path(path).read_text(), re.M) if path else None
        if token is None or self.headers.get("Authorization") == f"Bearer {token[1]}":
            return False
        self._reply(401, b'{"errcode": "M_UNKNOWN_TOKEN"}')
        return True


class Operators(Handler):
    def do_GET(self) -> None:
        self._reply(200, b"{}")

    def do_POST(self) -> None:
        self._reply(401 if self.path == "/policy" else 200, b"")


class Server(ThreadingHTTPServer):
    daemon_threads = False  # an orderly end waits for the answers that are under way
    request_queue_size = 128
    allow_reuse_address = True

    def get_request(self) -> Any:
        """Accept a connection and count it in one: a crash in between would lose it."""
        global _busy
        with _counting:
            found = super().get_request()
            _busy += 1
        return found


VARIABLES = {
    "public": "LOTUS_GUARD_LISTEN",
    "operators": "LOTUS_GUARD_ADMIN_LISTEN",
    "homeserver": "LOTUS_GUARD_HOMESERVER_LISTEN",
}


def listening(name: str, default: str, handler: type[Handler]) -> Server:
    handed = os.environ.get("LISTEN_FDNAMES", "").split(":")
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and name in handed:
        server = Server(("127.0.0.1", 0), handler, bind_and_activate=False)
        server.socket.close()
        server.socket = socket.socket(fileno=3 + handed.index(name))
        return server
    found = re.match(r"tcp:(\d+)", os.environ.get(VARIABLES[name], default))
    assert found
    return Server(("127.0.0.1", int(found[1])), handler)


def remember() -> None:
    with sqlite3.connect(STATE) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS seat (room TEXT, person TEXT)")
        if BEHAVIOUR == "migrates":
            # It ends what it is at, and a rollback comes meanwhile.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(0.4)
            connection.execute("ALTER TABLE seat RENAME COLUMN person TO somebody")
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        else:
            connection.execute("SELECT person FROM seat").fetchall()


def ready() -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", path)


def end_in_order(server: Server) -> None:
    """End at SIGTERM, once what is under way is answered.

    A thread waits for the signal. A handler would run in the middle of what the main thread does,
    and starting a thread from there hangs where that thread was just starting one itself. Each
    thread must block it (`hold_back_the_end`).
    """

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        server.shutdown()

    threading.Thread(target=wait, daemon=True).start()


def hold_back_the_end() -> None:
    """Block SIGTERM, before any thread is started: each inherits it.

    One that does not block the signal is given it, and it ends the process at once.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def lose_a_port() -> None:
    """End, the first time that it is tried out, as where somebody was faster at its port."""
    mark = Path(__file__).with_name("tried")
    if not mark.exists():
        mark.touch()
        sys.exit("Couldn't listen on 127.0.0.1:1: [Errno 98] Address already in use.")


def serve() -> None:
    if BEHAVIOUR == "unlucky" and os.environ.get("LOTUS_GUARD_MODE") == "observe":
        lose_a_port()
    if BEHAVIOUR == "import":
        import there_is_no_such_module  # type: ignore[import-not-found]  # noqa: F401
    remember()
    public, operators = (
        listening("public", "tcp:8070", Handler),
        listening("operators", "tcp:8072", Operators),
    )
    hold_back_the_end()
    homeserver = None
    if os.environ.get(VARIABLES["homeserver"]):
        homeserver = listening("homeserver", "", ForHomeserver)
        threading.Thread(target=homeserver.serve_forever, args=(0.02,), daemon=True).start()
    end_in_order(public)
    on_trial = os.environ.get("LOTUS_GUARD_MODE") == "observe"
    if BEHAVIOUR in ("crashes", "migrates") and not on_trial:
        threading.Timer(0.7, crash).start()
    threading.Thread(target=operators.serve_forever, daemon=True).start()
    ready()
    public.serve_forever(poll_interval=0.02)
    public.server_close()
    if homeserver is not None:
        homeserver.shutdown()
        homeserver.server_close()
    os._exit(0)


def route() -> list[dict[str, str]]:
    """Find where the homeserver hands requests for tokens on."""
    synapse = urlsplit(os.environ.get("LOTUS_GUARD_SYNAPSE_URL", "http://127.0.0.1:9"))
    connection = HTTPConnection(synapse.hostname or "", synapse.port, timeout=5)
    level, seen = "note", "not checked: Synapse does not answer"
    try:
        connection.request("POST", "/sfu/get", b'{"room": "!a:b"}')
        is_ours = "X-Version" in connection.getresponse().headers
        level, seen = ("ok", "well") if is_ours else ("fault", "calls go past the guard")
    except OSError:
        pass
    finally:
        connection.close()
    return [{"name": "homeserver-route", "level": level, "seen": seen, "wanted": "restart it"}]


def check() -> int:
    if BEHAVIOUR == "configuration" or not os.environ.get("LIVEKIT_SECRET"):
        print("fault    settings               LOTUS_GUARD_NEW: not set")
        return 2
    report: dict[str, Any] = {"level": "ok", "findings": route()}
    if "--json" in sys.argv:
        print(json.dumps(report))
    return 0


def main() -> int:
    if Path(sys.argv[0]).name == "lotus-guard":
        return check()
    serve()
    return 0


if __name__ == "__main__":
    time.sleep(0)
    sys.exit(main())
