"""lk-jwt-service, the upstream: every request goes there, every answer comes from there.

What is not handed on, and why:

- hop-by-hop headers (RFC 9110, 7.6.1), and those that `Connection` names;
- `X-Matrix-User-Identifier`, `X-Matrix-Origin`: upstream's rewrite as an application service
  (MSC4512) trusts them, so a port that anybody reaches must strip them, in any spelling
  (docs/facts.md, lk-jwt-service: what it does not check);
- `Accept-Encoding`, `Range`, `If-Range`: with them a client could get a token in a form that we
  cannot read, from a compressing proxy in front of upstream;
- `Expect`: our own server has answered it.
"""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from functools import lru_cache

from attrs import define
from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from twisted.web.client import URI
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.enforce.ports import Allowance
from lotus_guard.neighbours.answers import WholeAnswer
from lotus_guard.neighbours.bodies import AnswerBody, BytesBody, KnownBody
from lotus_guard.neighbours.http import outage_of

MOST_JUDGED = 1024 * 1024
"""Answers of up to so many bytes are read whole; longer ones are streamed through."""

SECONDS = 60.0
"""How long upstream may take; it asks the user's homeserver, which may be slow."""

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade content-length".split()
)
OF_HOMESERVERS = frozenset(b"x-matrix-user-identifier x-matrix-origin".split())
"""In these a homeserver says who asks; from anybody else they are forgeries."""
WITHHELD = (
    _HOP_BY_HOP | OF_HOMESERVERS | frozenset(b"accept-encoding range if-range expect".split())
)
"""Of a client's headers, in lower case and with dashes."""
_TARGET = re.compile(rb"(?:[Hh][Tt][Tt][Pp][Ss]?://[^/?#]*)?((?:/.*)?)", re.DOTALL)
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_]+)+(?:\?[A-Za-z0-9_=&]+)?")
"""Targets that Twisted's client leaves as they are; nearly all."""
_NOT_IN_A_URL = re.compile(rb"[^\x21\x22\x24-\x7e]")  # all but printable ASCII; and not "#"


@define(eq=False)
class Reply:
    """Upstream's answer; `body.is_whole` tells whether all of it has been read."""

    status: int
    phrase: bytes
    headers: Headers
    body: AnswerBody | KnownBody


@define(eq=False)
class Upstream:
    """Hands requests on to lk-jwt-service."""

    agent: IAgent
    base: bytes
    """Base address such as `http://127.0.0.1:8071`, without a trailing slash."""
    clock: IReactorTime
    seconds: float = SECONDS
    most: int = MOST_JUDGED

    async def forward(self, method: bytes, target: bytes, headers: Headers, body: bytes) -> Reply:
        """Hand a request on and read the answer, up to its bound; `target` is one of `target_of`.

        Raises `ports.Outage` where upstream cannot be reached, is too slow or breaks off.
        """
        end = self.clock.seconds() + self.seconds
        try:
            sent = self.agent.request(
                method, self.base + target, headers, BytesBody(body) if body else None
            )
            response: IResponse = await with_timeout(self.seconds, self.clock, sent)
            if isinstance(response, WholeAnswer) and len(response.body) <= self.most:
                collected: AnswerBody | KnownBody = KnownBody(response.body)
            else:
                collected = await self._read(response, end)
        except defer.CancelledError:
            raise
        except Exception as failure:
            raise outage_of(failure, "lk-jwt-service", self.seconds) from None
        _remove(response.headers, _HOP_BY_HOP)
        return Reply(response.code, response.phrase, response.headers, collected)

    async def _read(self, response: IResponse, end: float) -> AnswerBody:
        body = AnswerBody(Allowance(self.most))
        response.deliverBody(body)
        await with_timeout(end - self.clock.seconds(), self.clock, body.ready)
        return body


def target_of(raw: bytes) -> bytes:
    """Return the request target that upstream will really get for the one a client sent.

    Twisted's client normalises a little (it drops an empty `;params` or query): whoever looks at a
    path must look at what goes out, not at what came in. Raises ValueError for a target that is
    neither a path nor an http URL.
    """
    return raw if _PLAIN.fullmatch(raw) else _target_of(raw)


@lru_cache(maxsize=64)
def _target_of(raw: bytes) -> bytes:
    match = _TARGET.fullmatch(raw)
    if match is None:
        raise ValueError("the request target is neither a path nor an http URL")
    path = _NOT_IN_A_URL.sub(_quoted, match[1] or b"/")
    wanted: bytes = URI.fromBytes(b"http://upstream" + path).originForm
    return wanted


def prepare_headers(
    headers: Headers,
    peer: str | None,
    host: bytes | None,
    withheld: AbstractSet[bytes] = WITHHELD,
) -> None:
    """Turn a request's headers into those that upstream gets, with the `X-Forwarded-*` family.

    `peer` is the address that connected to us, `host` the host asked for. Nothing is copied:
    Twisted would check and write each of some fifteen headers anew.
    """
    _remove(headers, withheld)
    # No line's end is in any of this: our own server takes none, and our client sends none.
    lines = headers._rawHeaders
    if peer:
        before = lines.get(b"X-Forwarded-For", ())
        lines[b"X-Forwarded-For"] = [b", ".join([*before, peer.encode("ascii")])]
    lines.setdefault(b"X-Forwarded-Proto", [b"http"])
    if host:
        lines.setdefault(b"X-Forwarded-Host", [host])


def _remove(headers: Headers, unwanted: AbstractSet[bytes]) -> None:
    """Take these headers away, in any spelling, and those that `Connection` names."""
    lines = headers._rawHeaders
    connection: Iterable[bytes] | None = lines.get(b"Connection")
    names = tuple(lines)
    for name in _found(names, frozenset(unwanted)):
        del lines[name]
    if connection:
        named = frozenset(_plain(part) for value in connection for part in value.split(b","))
        for name in _found.__wrapped__(names, named):
            lines.pop(name, None)


@lru_cache(maxsize=64)
def _found(names: tuple[bytes, ...], unwanted: frozenset[bytes]) -> tuple[bytes, ...]:
    """Those of a head's names that are unwanted; most heads are like one before.

    What clients make up is kept of so many heads at the most, which Twisted bounds at 16 KiB each.
    """
    return tuple(name for name in names if _plain(name) in unwanted)


def _plain(name: bytes) -> bytes:
    """A header's name in the one spelling that we know."""
    return name.strip().lower().replace(b"_", b"-")


def _quoted(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
