"""The guard as an application service: it takes the transactions of its homeserver.

PUT  /_matrix/app/v1/transactions/{txnId}          200 {}, whatever is in it
PUT  /transactions/{txnId}                         the same, from older homeservers
POST /_matrix/app/v1/ping                          200 {}
GET  /_matrix/app/v1/users/…, rooms/…              404: the guard has neither

One that is too long, or that is none, is answered by 200 as well: a homeserver sends what was
refused again for ever, and nothing else meanwhile. What it says is missed, and polled.
"""

from typing import Protocol

from attrs import frozen
from twisted.web.http_headers import Headers

from lotus_guard.core.sentence import Sentence
from lotus_guard.enforce.transactions import Transactions
from lotus_guard.web.answers import Answers
from lotus_guard.web.client_request import ClientRequest
from lotus_guard.web.problems import UNRECOGNISED, Problem

MOST_TRANSACTION = 1024 * 1024
"""Bytes of a transaction that is read; reading it takes some 10 ms, in which nobody is served."""
_PREFIXES = (b"/_matrix/app/v1/transactions/", b"/transactions/")
_QUERIES = (b"/_matrix/app/v1/users/", b"/_matrix/app/v1/rooms/", b"/users/", b"/rooms/")
_PING = b"/_matrix/app/v1/ping"
_NOBODY = Sentence("The guard has no users and no rooms of its own.")
"""A homeserver reads it, and no user: it is said as it stands."""


class Proof(Protocol):
    """Knows whether it is our homeserver that asks."""

    def is_ours(self, headers: Headers) -> bool:
        """Whether these headers prove it."""


@frozen
class AppService:
    """Answers what a homeserver asks of an application service."""

    proof: Proof
    transactions: Transactions
    answers: Answers

    def bound_of(self, target: bytes, headers: Headers) -> int | None:
        """How long a transaction may be; None for whatever else is asked, or by whom."""
        return MOST_TRANSACTION if is_transaction(target) and self.proof.is_ours(headers) else None

    def answer(self, request: ClientRequest) -> bool:
        """Answer a request, unless it is for somebody else; raises Problem."""
        path = _path_of(request.target)
        asked = request.method, path
        is_query = request.method == b"GET" and path.startswith(_QUERIES)
        is_push = request.method == b"PUT" and is_transaction(path)
        if not (is_query or is_push or asked == (b"POST", _PING)):
            return False
        if not self.proof.is_ours(request.requestHeaders):
            raise Problem(401, "M_UNKNOWN_TOKEN", UNRECOGNISED)
        if is_query:
            raise Problem(404, "M_NOT_FOUND", _NOBODY)
        if is_push:
            self._take(request)
        self.answers.tell(request, b"{}")
        return True

    def _take(self, request: ClientRequest) -> None:
        if request.too_long:
            self.transactions.dropped()
        else:
            self.transactions.take(request.content.read())


def is_transaction(target: bytes) -> bool:
    """Whether a request target is where transactions are put."""
    return _path_of(target).startswith(_PREFIXES)


def _path_of(target: bytes) -> bytes:
    return target.partition(b"?")[0]
