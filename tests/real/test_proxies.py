"""What docs/proxies.md says of each proxy, by the real nginx, Caddy and HAProxy."""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from bench.neighbours import frame
from bench.tools import Missing, libraries, program
from lotus_guard.check.finding import Finding, Level
from lotus_guard.core.probe import FIELD, HEADER, sign_probe
from lotus_guard.sandbox.stack import SECRET
from tests.check.checked_stack import CheckedStack, port_of
from tests.real.conftest import require_real
from tests.real.processes import ROOT, Process, free_port, http
from tests.world import World

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


def found(name: str) -> str:
    try:
        return program(name)
    except Missing as missing:
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@contextmanager
def running(name: str, directory: Path, port: int, *words: str) -> Iterator[str]:
    """Run another proxy, which listens on the port; returns its address."""
    path = found(name)
    home = {"HOME": str(directory), **libraries(path)}
    process = Process(name, [path, *words], directory, port, home)
    process.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


def shown(kind: str, guard: int) -> str:
    """Return the page's one block of a kind, with the guard's port."""
    (block,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert "127.0.0.1:8070" in block
    return str(block).replace("127.0.0.1:8070", f"127.0.0.1:{guard}")


def assert_takes_the_prefix_off(url: str) -> None:
    for path in PATHS:
        assert arrives(f"{url}{PREFIX}{path}") == path
    answer = http("POST", f"{url}{PREFIX}/get_token", b"{}")
    assert answer.body.decode().split()[1] == "127.0.0.1", "the client's address"


@contextmanager
def nginx(directory: Path, locations: str, more: str = "") -> Iterator[str]:
    """Run a server with these locations, and perhaps more servers; returns the first's address."""
    found("nginx")
    port = free_port()
    inner = f"server {{ listen 127.0.0.1:{port}; {locations} }} {more}"
    process = Process("nginx", frame(directory, "proxy", inner), directory, port)
    process.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


def arrives(url: str) -> str:
    return http("POST", url, b"{}").body.decode().split()[0]


def test_the_lines_for_nginx_take_the_prefix_off(guard: int, tmp_path: Path) -> None:
    with nginx(tmp_path, shown("nginx", guard)) as url:
        assert_takes_the_prefix_off(url)
        assert arrives(f"{url}{PREFIX}//get_token") == "/get_token"


def test_the_lines_for_caddy_take_the_prefix_off(guard: int, tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "Caddyfile"
    head = "{\n\tadmin off\n\tauto_https off\n}\n"
    file.write_text(f"{head}http://127.0.0.1:{port} {{\n{shown('caddy', guard)}}}\n")
    words = ("run", "--adapter", "caddyfile", "--config", str(file))
    with running("caddy", tmp_path, port, *words) as url:
        assert_takes_the_prefix_off(url)


def test_the_lines_for_haproxy_take_the_prefix_off(guard: int, tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "haproxy.cfg"
    waits = "timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n"
    lines, count = re.subn(r"bind :443 .*", f"bind 127.0.0.1:{port}", shown("haproxy", guard))
    assert count == 1
    file.write_text(f"defaults\n  mode http\n  {waits}\n{lines}")
    with running("haproxy", tmp_path, port, "-db", "-f", str(file)) as url:
        assert_takes_the_prefix_off(url)


def test_the_lines_for_the_panel_leave_its_path_as_it_is(guard: int, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "panel.md").read_text()
    (block,) = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)
    with nginx(tmp_path, block.replace("127.0.0.1:8070", f"127.0.0.1:{guard}")) as url:
        for path in ("/panel/", "/panel/room", "/panel/texts/de.json"):
            assert arrives(url + path) == path


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


# What the check says of an nginx that is set up wrongly: the line that it names mends it.

NAMES_THEM = (
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; "
    "proxy_set_header X-Real-IP $remote_addr;"
)
NAMED_LINE = re.compile(r"location \S+ \{ proxy_pass \S+; \}")


@pytest.fixture
def stack(world: World, tmp_path: Path) -> Iterator[CheckedStack]:
    require_real()
    made = CheckedStack(world, tmp_path)
    made.user_token = ""
    yield made
    pytest_twisted.blockon(pytest_twisted.defer.ensureDeferred(made.stop()))


async def checked(stack: CheckedStack, url: str) -> dict[str, Finding]:
    """Run the check on that public address; prints what is wrong with it."""
    stack.public_url = url
    found = await stack.check()
    for each in found.values():
        if each.level in (Level.WARNING, Level.FAULT):
            print(f"\n  {each.level} {each.name}: {each.seen}\n      change: {each.wanted}")
    return found


def bad(found: dict[str, Finding]) -> dict[str, Level]:
    wrong = (Level.WARNING, Level.FAULT)
    return {each.name: each.level for each in found.values() if each.level in wrong}


WRONG_PATHS = [
    # The prefix of the public address, nginx's locations, how bad it is, and the reason given.
    (PREFIX, "location ^~ /livekit/jwt {{ proxy_pass {guard}/; }}", "warning", "slash too many"),
    (PREFIX, "location /livekit/jwt/ {{ proxy_pass {guard}; }}", "fault", "prefix is not removed"),
    (PREFIX, "location /livekit/jwt {{ proxy_pass {guard}; }}", "fault", "prefix is not removed"),
    (PREFIX, "location /livekit/ {{ proxy_pass {guard}/; }}", "fault", "only part"),
    (PREFIX, "location /livekit {{ proxy_pass {guard}/; }}", "fault", "only part"),
    (PREFIX, "location /livekit/jwt/ {{ proxy_pass {guard}/x/; }}", "fault", "/x/ is in front"),
    (
        PREFIX,
        " ".join(f"location {PREFIX}{path} {{{{ proxy_pass {{guard}}/; }}}}" for path in PATHS),
        "fault",
        "the path is cut off",
    ),
    (
        "",
        " ".join(f"location {path} {{{{ proxy_pass {{guard}}/; }}}}" for path in PATHS),
        "fault",
        "the path is cut off",
    ),
    ("", "location / {{ proxy_pass {guard}/livekit/jwt/; }}", "fault", "/livekit/jwt/ is in front"),
]


@pytest.mark.parametrize(("prefix", "locations", "level", "why"), WRONG_PATHS)
@pytest_twisted.ensureDeferred
async def test_the_line_that_the_check_names_mends_the_paths(
    stack: CheckedStack, tmp_path: Path, prefix: str, locations: str, level: str, why: str
) -> None:
    wrong = f"{NAMES_THEM} {locations.format(guard=stack.world.url)}"
    with nginx(tmp_path, wrong) as url:
        found = await checked(stack, url + prefix)
    assert bad(found) == {"public-prefix": Level(level)}
    assert why in found["public-prefix"].seen
    lines = NAMED_LINE.findall(found["public-prefix"].wanted)
    with nginx(tmp_path, f"{NAMES_THEM} {' '.join(lines)}") as url:
        assert bad(await checked(stack, url + prefix)) == {}


ALL = "location /livekit/jwt/ {{ {more} proxy_pass {guard}/; }}"
EXACT = " ".join(
    f"location = {PREFIX}{path} {{{{ proxy_pass {{guard}}{path}; }}}}" for path in PATHS
)
WRONG_LINES = [
    # What is wrong, and the finding with some of its words.
    (ALL.replace("{more}", "add_header Access-Control-Allow-Origin * always;"), "public-cors",
     "fault", "2 times"),
    (ALL.replace("{more}", "if ($request_method = OPTIONS) {{ return 204; }}"), "public-cors",
     "fault", "an answer to OPTIONS has no"),
    (ALL.replace("{more}", "limit_except POST {{ deny all; }}"), "public-cors", "fault",
     "OPTIONS gets 403"),
    (ALL.replace("{more}", "proxy_hide_header Access-Control-Allow-Origin;"), "public-cors",
     "fault", "an answer to POST has no"),
    ("merge_slashes off; " + EXACT, "public-slashes", "warning", "not by the token service"),
    ("merge_slashes off; location ~ // {{ return 301 /; }} " + ALL.replace("{more}", ""),
     "public-slashes", "warning", "a redirect (301)"),
    ("location = /livekit/jwt/get_token {{ proxy_pass {guard}/get_token; }} "
     "location = /livekit/jwt/sfu/get {{ proxy_pass {guard}/sfu/get; }}", "public-endpoints",
     "fault", "/delegate_delayed_leave does not reach the guard (404 text/html)"),
]  # fmt: skip


@pytest.mark.parametrize(("locations", "name", "level", "words"), WRONG_LINES)
@pytest_twisted.ensureDeferred
async def test_what_else_an_nginx_breaks_is_found(
    stack: CheckedStack, tmp_path: Path, locations: str, name: str, level: str, words: str
) -> None:
    with nginx(tmp_path, f"{NAMES_THEM} {locations.format(guard=stack.world.url)}") as url:
        found = await checked(stack, url + PREFIX)
    assert bad(found) == {name: Level(level)}
    assert words in found[name].seen


@pytest_twisted.ensureDeferred
async def test_an_address_that_ends_in_a_slash_is_served_whole(
    stack: CheckedStack, tmp_path: Path
) -> None:
    """Also by an nginx that merges nothing: the guard serves `//get_token` and its kin."""
    lines = ALL.format(guard=stack.world.url, more=NAMES_THEM)
    for more in ("", "merge_slashes off; "):
        with nginx(tmp_path, more + lines) as url:
            assert bad(await checked(stack, f"{url}{PREFIX}/")) == {}
    with nginx(
        tmp_path, f"merge_slashes off; {NAMES_THEM} " + EXACT.format(guard=stack.world.url)
    ) as url:
        assert bad(await checked(stack, f"{url}{PREFIX}/")) == {"public-slashes": Level.FAULT}


# Two proxies in a row, each with an address of its own.

OUTER, INNER = "127.0.0.5", "127.0.0.6"
APPENDS = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
OVERWRITES = "proxy_set_header X-Forwarded-For $remote_addr;"


def restart_guard(stack: CheckedStack, trusted: str) -> None:
    settings = {"LOTUS_GUARD_TRUSTED_PROXIES": trusted}
    stack.world.start_guard(**settings)
    port = port_of(stack.world.url)
    stack.environment |= {**settings, "LOTUS_GUARD_LISTEN": f"tcp:{port}:interface=127.0.0.1"}


@contextmanager
def two_proxies(
    stack: CheckedStack, outer: str = NAMES_THEM, inner: str = NAMES_THEM
) -> Iterator[str]:
    port = free_port()
    first = f"location / {{ proxy_bind {OUTER}; {outer} proxy_pass http://127.0.0.1:{port}; }}"
    second = (
        f"server {{ listen 127.0.0.1:{port}; location / "
        f"{{ proxy_bind {INNER}; {inner} proxy_pass {stack.world.url}; }} }}"
    )
    with nginx(stack.directory, first, second) as url:
        yield url


def taken_for(url: str, address: str, **sent: str) -> str:
    """For whom the guard takes a client at this address."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port), timeout=10.0, source_address=(address, 0))
    headers = {name.replace("_", "-"): value for name, value in sent.items()}
    probe = {HEADER: sign_probe(SECRET, time.time())}
    try:
        connection.request("POST", "/get_token", b"{}", {**headers, **probe})
        client: str = json.loads(connection.getresponse().read())[FIELD]["client"]
        return client
    finally:
        connection.close()


@pytest.mark.parametrize("inner", [NAMES_THEM, APPENDS])
@pytest_twisted.ensureDeferred
async def test_behind_two_proxies_each_client_is_one(stack: CheckedStack, inner: str) -> None:
    restart_guard(stack, f"{OUTER},{INNER}")
    lie = "192.0.2.1, 127.0.0.5, 127.0.0.6"
    with two_proxies(stack, inner=inner) as url:
        for address in ("127.0.0.1", "127.0.0.77"):
            assert await deferToThread(taken_for, url, address) == address
            lied = await deferToThread(
                taken_for, url, address, X_Forwarded_For=lie, X_Real_IP="192.0.2.9"
            )
            assert lied == address
        assert bad(await checked(stack, url)) == {}


@pytest.mark.parametrize(("trusted", "missing"), [(INNER, OUTER), (OUTER, INNER)])
@pytest_twisted.ensureDeferred
async def test_the_check_names_the_proxy_that_is_not_trusted(
    stack: CheckedStack, trusted: str, missing: str
) -> None:
    restart_guard(stack, trusted)
    with two_proxies(stack) as url:
        seen = {await deferToThread(taken_for, url, f"127.0.0.{n}") for n in (1, 77)}
        assert seen == {missing}, "all clients count as one"
        found = await checked(stack, url)
        assert bad(found) == {"public-client": Level.WARNING}
        added = re.search(r"LOTUS_GUARD_TRUSTED_PROXIES=(\S+)", found["public-client"].wanted)
        assert added is not None
        assert missing in added[1]
        restart_guard(stack, added[1])
    with two_proxies(stack) as url:
        assert bad(await checked(stack, url)) == {}


@pytest.mark.parametrize(
    ("outer", "inner", "words"),
    [
        (NAMES_THEM, OVERWRITES, "differ"),
        (APPENDS, OVERWRITES, "the inner proxy overwrites"),
        ("", OVERWRITES, "the inner proxy overwrites"),
        (APPENDS, "proxy_set_header X-Real-IP $remote_addr;", "differ"),
        ("", "", "can pass for any other"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_check_sees_two_proxies_that_lose_the_client(
    stack: CheckedStack, outer: str, inner: str, words: str
) -> None:
    restart_guard(stack, f"{OUTER},{INNER}")
    with two_proxies(stack, outer, inner) as url:
        found = await checked(stack, url)
    assert bad(found) == {"public-client": Level.WARNING}
    assert words in found["public-client"].seen
