"""The status page's files and their headers, and who is served."""

import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred

from lotus_guard.run.live_service import STOP_SECONDS
from lotus_guard.sandbox.stack import VOICE
from lotus_guard.web.status import pages
from lotus_guard.web.status.pages import NAMES
from tests.real.processes import ROOT, Process, free_port
from tests.test_docs import GOOD
from tests.test_layout import MOST_LINES
from tests.test_tap import TWISTD
from tests.web.status.watched import Watched
from tests.world import World

ALLOWED = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
"""The whole policy, written out: a test that asks the code for it lets the code weaken it."""


WEB = {".html", ".css", ".js", ".svg"}


def policy(header: str) -> dict[str, str]:
    """Read a content security policy; of a directive named twice, a browser takes the first."""
    pairs = (part.strip().partition(" ") for part in header.split(";"))
    directives = [(name, value) for name, _, value in pairs]
    assert len(directives) == len(dict(directives))
    return dict(directives)


def test_another_sites_page_takes_no_place(watched: Watched) -> None:
    assert watched.open(headers="Sec-Fetch-Site: cross-site\r\n").head()[0] == 403
    assert watched.open(headers="Sec-Fetch-Site: same-origin\r\n").head()[0] == 200


def test_a_head_request_takes_no_place(watched: Watched) -> None:
    page = watched.open(method="HEAD")
    assert (page.head()[0], watched.looks) == (200, 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_guarded_by_its_headers(watched: Watched, name: str) -> None:
    status, headers = watched.open(name).head()
    assert status == 200
    assert policy(headers["content-security-policy"]) == ALLOWED
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_nothing_is_inline() -> None:
    page = Watched().open("page.html").body()
    assert "<style" not in page
    assert " style=" not in page
    assert "<script>" not in page
    assert not any(f" {event}=" in page for event in ("onload", "onclick", "onerror"))


def test_every_file_of_the_page_is_served_and_short() -> None:
    here = Path(pages.__file__).parent
    found = {each.name: each.read_text() for each in here.iterdir() if each.suffix in WEB}
    assert found.keys() == pages.TYPES.keys()
    assert {name for name, text in found.items() if len(text.splitlines()) > MOST_LINES} == set()


@pytest_twisted.ensureDeferred
async def test_the_guard_shows_it_on_the_operators_port(world: World) -> None:
    world.start_guard()
    page = await world.request("GET", "/", base=world.operators)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for name in ("page.css", "page.js", "icon.svg"):
        assert (await world.request("GET", f"/status/{name}", base=world.operators)).status == 200
    for name in ("page.html2", "..%2fadmin.py", "__init__.py"):
        assert (await world.request("GET", f"/status/{name}", base=world.operators)).status == 404


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["/", "/status/events", "/status/page.js"])
async def test_it_is_not_shown_under_a_strangers_name(world: World, path: str) -> None:
    world.start_guard()
    got = await world.request(
        "GET", path, headers={"Host": "rebound.example"}, base=world.operators
    )
    assert got.status == 421


@pytest_twisted.ensureDeferred
async def test_the_public_port_does_not_show_it(world: World) -> None:
    world.start_guard()
    assert (await world.request("GET", "/status/page.js")).status == 404


@pytest_twisted.ensureDeferred
async def test_an_open_stream_tells_of_the_guard_and_ends_with_it(world: World) -> None:
    world.start_guard()
    waiting: Deferred[Any] = ensureDeferred(
        world.request("GET", "/status/events", base=world.operators)
    )
    await world.ask("alice", VOICE)
    world.guard.operators.close()
    got = await waiting
    assert b"event: hello" in got.body
    assert b'"rules":{"limit":"enforce"' in got.body


def test_an_open_page_does_not_hold_up_an_orderly_end(tmp_path: Path) -> None:
    public, desk = free_port(), free_port()
    command = [TWISTD, "--nodaemon", "--pidfile=", "lotus-guard"]
    environment = {
        **GOOD,
        "PYTHONPATH": str(ROOT),
        "LOTUS_GUARD_LISTEN": f"tcp:{public}:interface=127.0.0.1",
        "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{desk}:interface=127.0.0.1",
    }
    guard = Process("guard", command, tmp_path, desk, environment)
    guard.start()
    try:
        with socket.create_connection(("127.0.0.1", desk), 10.0) as viewer:
            viewer.sendall(b"GET /status/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = b""
            while b"event: hello" not in got:
                got += viewer.recv(65536)
            begun = time.monotonic()
            guard.stop()
            took = time.monotonic() - begun
            while more := viewer.recv(65536):
                got += more
    finally:
        guard.kill()
    assert took < STOP_SECONDS
    assert got.endswith(b"\r\n0\r\n\r\n"), "the answer was ended, not cut off"
    assert "Traceback" not in guard.text()


def test_the_advice_on_what_is_down_leads_to_a_heading() -> None:
    """The page names `docs/troubleshooting.md#…` for each, and makes the place as here."""
    script = (ROOT / "lotus_guard" / "web" / "status" / "neighbours.js").read_text()

    def table(name: str) -> dict[str, str]:
        body = script.partition(f"const {name} = {{\n")[2].partition("\n};")[0]
        pairs = re.findall(r'^  (?:"([^"]+)"|(\w+)): "([^"]+)"', body, re.MULTILINE)
        return {(quoted or bare).replace(r"\u2019", "\u2019"): text for quoted, bare, text in pairs}

    advice, anchors = table("ADVICE"), table("ANCHORS")
    assert len(advice) == 8
    assert anchors.keys() < advice.keys()
    troubles = (ROOT / "docs" / "troubleshooting.md").read_text()
    headings = re.findall(r"^#+ (.+)$", troubles, re.MULTILINE)
    there = {heading.lower().replace(" ", "-") for heading in headings}
    led_to = {anchors.get(label, label.lower().replace(" ", "-")) for label in advice}
    assert led_to <= there
