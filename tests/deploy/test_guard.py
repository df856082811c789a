"""The made-up guard ends as the real one does: the deployer's tests rest on it."""

import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.real.processes import Answer, free_port, http, until

SCRIPT = Path(__file__).with_name("guard.py")


@pytest.mark.parametrize("behind", [False, True], ids=["alone", "behind a homeserver too"])
def test_an_orderly_end_answers_what_is_under_way(tmp_path: Path, behind: bool) -> None:
    asked, may_answer = Event(), Event()

    class Upstream(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.set()
            may_answer.wait(10)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    upstream = HTTPServer(("127.0.0.1", 0), Upstream)
    Thread(target=upstream.handle_request, daemon=True).start()
    port, homeserver, operators = free_port(), free_port(), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "STATE_DIRECTORY": str(tmp_path),
        "LOTUS_GUARD_LISTEN": f"tcp:{port}",
        "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{operators}",
        "LOTUS_GUARD_UPSTREAM": f"http://127.0.0.1:{upstream.server_port}",
    } | ({"LOTUS_GUARD_HOMESERVER_LISTEN": f"tcp:{homeserver}"} if behind else {})
    answers: list[Answer] = []
    with subprocess.Popen([sys.executable, str(SCRIPT)], env=environment) as guard:
        try:
            url = f"http://127.0.0.1:{port}/sfu/get"
            until("it listens", lambda: listens(operators))
            client = Thread(target=lambda: answers.append(http("POST", url, b"{}")), daemon=True)
            client.start()
            assert asked.wait(10)
            guard.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                guard.wait(0.3)
            may_answer.set()
            client.join(10)
            assert guard.wait(10) == 0
        finally:
            guard.kill()
            upstream.server_close()
    assert [each.status for each in answers] == [200]


def listens(port: int) -> bool:
    try:
        return http("GET", f"http://127.0.0.1:{port}/", seconds=1).status == 200
    except OSError:
        return False
