"""Is a guard well? Asked from outside, as clients and operators do.

A token is asked for with a body that upstream refuses: its answer must come through the guard as
upstream gives it when asked directly. So the way there and back is tried and nothing is issued.
With a user's access token a real call token is asked for, too. Where upstream itself is silent,
nothing can be told of the guard, and nothing is held against it.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import SHUT_RDWR, socket
from threading import Event, Timer
from typing import Any
from urllib.parse import quote, urlsplit

from deploy.lib.host import Exit, Trouble
from deploy.lib.unit import Service

REFUSED_BODY = b"{}"
TOKEN_PATHS = ("/get_token", "/sfu/get")
PUBLIC = (
    ("GET", "/healthz"),
    ("OPTIONS", "/get_token"),
    ("OPTIONS", "/sfu/get"),
    ("POST", "/get_token"),
    ("POST", "/sfu/get"),
    ("POST", "/delegate_delayed_leave"),
    ("POST", "/sfu_webhook"),
)
OPERATORS = (
    ("GET", "/livez", 200),
    ("GET", "/readyz", 200),
    ("GET", "/metrics", 200),
    ("GET", "/rooms", 200),
    ("GET", "/decisions", 200),
    ("POST", "/policy", 401),
    ("POST", "/webhook", 200),
)
ROOM = "!lotus-guard-deploy:localhost"
SECONDS = 5.0
MOST = 1 << 20
"""As many bytes of an answer are looked at: metrics are the longest."""
PAUSE = 0.1


class Silent(Exception):
    """No HTTP answer came; says why."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, as far as it matters here."""

    status: int
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """Read the body as a JSON object; empty where it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def __str__(self) -> str:
        return f"{self.status} {self.fields.get('errcode', '')}".strip()


def ask(
    base: str,
    method: str,
    path: str,
    body: bytes | None = None,
    seconds: float = SECONDS,
    bearer: str = "",
) -> Answer:
    """Make one request on a connection of its own; raises Silent."""
    parts = urlsplit(base)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    try:
        connection.connect()
        with _cut_after(seconds, connection.sock):
            connection.request(method, parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read(MOST))
    except (OSError, HTTPException) as error:
        why = str(error) or type(error).__name__
        raise Silent(f"no answer from {base}{path}: {why}") from None
    finally:
        connection.close()


@contextmanager
def _cut_after(seconds: float, sock: socket) -> Iterator[None]:
    """Bound a whole exchange; raises TimeoutError. A socket's timeout is for each single packet."""
    overdue = Event()

    def cut() -> None:
        overdue.set()
        with suppress(OSError):  # it is done meanwhile
            sock.shutdown(SHUT_RDWR)  # who waits for a packet gets an end instead

    timer = Timer(seconds, cut)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if overdue.is_set():
            raise TimeoutError(f"incomplete after {seconds:g} s")


def is_upstream(base: str) -> bool:
    """Return whether lk-jwt-service answers there: 200 without a body on /healthz."""
    try:
        answer = ask(base, "GET", "/healthz")
    except Silent:
        return False
    return answer.status == 200 and not answer.body


def fault(service: Service) -> str:
    """Return what is wrong with a guard, or nothing: alive, both token endpoints as upstream's.

    And the homeserver's port, where there is one, answers.
    """
    return fault_of_the_old(service) or silence(service.homeserver)


def fault_of_the_old(service: Service) -> str:
    """Return what is wrong with a guard, whatever its port for the homeserver does."""
    return _first(service, OPERATORS[:1], [("POST", path) for path in TOKEN_PATHS])


def silence(homeserver: str | None) -> str:
    """Return what is wrong with the homeserver's port: any answer will do, also a 401."""
    try:
        if homeserver is not None:
            ask(homeserver, "GET", "/healthz")
    except Silent as why:
        return str(why)
    return ""


def fault_anywhere(service: Service) -> str:
    """Return what is wrong with any endpoint of a guard, or nothing."""
    return _first(service, OPERATORS, PUBLIC) or silence(service.homeserver)


def _first(
    service: Service,
    operators: Sequence[tuple[str, str, int]],
    public: Sequence[tuple[str, str]],
) -> str:
    """Ask one after the other until something is wrong.

    The operators' port first: where the guard is down, systemd may hold the public port, and who
    asks there waits.
    """
    for method, path, status in operators if service.operators else ():
        wrong = _expected(service.operators or "", method, path, status)
        if wrong:
            return wrong
    for method, path in public:
        wrong = _compared(service, method, path)
        if wrong:
            return wrong
    return ""


def _compared(
    service: Service, method: str, path: str, body: bytes = REFUSED_BODY, bearer: str = ""
) -> str:
    """Ask the guard and upstream for the same; gives what is wrong, or nothing."""
    if service.public is None:
        return ""
    sent = body if method == "POST" else None
    try:
        got = ask(service.public, method, path, sent)
    except Silent as why:
        return str(why)
    try:
        wanted = ask(service.upstream, method, path, sent)
    except Silent:
        return ""
    if (got.status, got.fields.get("errcode")) == (wanted.status, wanted.fields.get("errcode")):
        return ""
    return f"{method} {path} through the guard: {got}; expected lk-jwt-service's answer: {wanted}"


def _expected(base: str, method: str, path: str, status: int) -> str:
    try:
        got = ask(base, method, path, b"" if method == "POST" else None)
    except Silent as why:
        return str(why)
    return "" if got.status == status else f"{method} {path}: {got}; expected {status}"


def token_fault(service: Service, access_token: str) -> str:
    """Get a call token as a user would; gives what is wrong, or nothing.

    Where Synapse does not give the user an OpenID token, the guard is not to blame.
    """
    synapse = service.environment.get("LOTUS_GUARD_SYNAPSE_URL", "")
    try:
        user = ask(
            synapse, "GET", "/_matrix/client/v3/account/whoami", bearer=access_token
        ).fields.get("user_id", "")
        path = f"/_matrix/client/v3/user/{quote(user, safe='')}/openid/request_token"
        openid = ask(synapse, "POST", path, b"{}", bearer=access_token).fields
    except Silent:
        return ""
    if "access_token" not in openid:
        return ""
    request = {"room": ROOM, "openid_token": openid, "device_id": "DEPLOY"}
    return _compared(service, "POST", "/sfu/get", json.dumps(request).encode())


def wait_until(what: str, test: Callable[[], str], seconds: float) -> None:
    """Wait until `test` finds nothing wrong any more; raises Trouble with what still is."""
    end = time.monotonic() + seconds
    while True:
        wrong = test()
        if not wrong:
            return
        if time.monotonic() > end:
            raise Trouble(f"{what}: not ready within {seconds:g} s: {wrong}", Exit.REFUSED)
        time.sleep(PAUSE)
