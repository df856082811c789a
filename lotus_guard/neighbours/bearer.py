"""Asks a homeserver with a token that may be renewed meanwhile."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from attrs import define, field
from twisted.web.http_headers import Headers

from lotus_guard.core.membership import server_of
from lotus_guard.core.model import UserId
from lotus_guard.core.objects import json_object, text_of
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.http import Http, HttpAnswer, written
from lotus_guard.neighbours.synapse_admin import MOST_BYTES, quoted

WHOAMI_PATH = "/_matrix/client/v3/account/whoami"

V = TypeVar("V")

Asking = Coroutine[Any, Any, V]
"""A question that somebody will await."""


@define(eq=False)
class Bearer:
    """Whoever has the token."""

    http: Http
    url: str
    """Base address of the homeserver, without a trailing slash."""
    token: Credential[str]
    whose: str
    """What the token is called where it is refused."""
    on_end: Callable[[Outage | None], None]
    """Told how each call ended."""
    most: int = MOST_BYTES
    """Bytes of an answer."""
    _head: tuple[str, Headers] | None = field(default=None, init=False, repr=False)
    """The token that was used last, and the headers with it."""

    async def ask(self, path: str, read: Callable[[HttpAnswer], V], due: float) -> V:
        """Make a call until `due`, by the clock of our exchanges, and read its answer.

        Whoever wants to know hears how it ended. Raises Outage, as `read` may.
        """
        try:
            found = read(await self._get(path, due))
        except Outage as outage:
            self.on_end(outage)
            raise
        self.on_end(None)
        return found

    def whoami(self, due: float, user: str = "") -> Asking[UserId]:
        """Ask whose token it is, or whether it serves for a user; raises Outage."""
        query = f"?user_id={quoted(user)}" if user else ""
        return self.ask(WHOAMI_PATH + query, self._read_whoami, due)

    def due(self, seconds: float) -> float:
        """When what begins now must have ended."""
        return self.http.clock.seconds() + seconds

    def left(self, due: float) -> float:
        """How many seconds are left until then."""
        return max(0.0, due - self.http.clock.seconds())

    def _read_whoami(self, answer: HttpAnswer) -> UserId:
        user = UserId(text_of(json_object(answer.body) or {}, "user_id"))
        if answer.status == 200 and server_of(user):
            return user
        raise self.outage(answer)

    def outage(self, answer: HttpAnswer) -> Outage:
        """Name what is wrong with an answer that says nothing."""
        if answer.status in (401, 403):
            errcode = (json_object(answer.body) or {}).get("errcode")
            said = f"answered {answer.status} ({errcode!s:.40}) to {self.whose}"
            return Outage(Reason.UNAUTHORIZED, f"{self.http.peer or 'Synapse'} {said}")
        return unlike_matrix(answer)

    async def _get(self, path: str, due: float) -> HttpAnswer:
        """Ask; with a token that was renewed meanwhile, ask again within the same deadline."""
        token, url = self.token.value, f"{self.url}{path}".encode("ascii")
        answer = await self._asked(url, token, due)
        if answer.status not in (401, 403) or not self.token.renewed(token):
            return answer
        return await self._asked(url, self.token.value, due)

    def _asked(self, url: bytes, token: str, due: float) -> Asking[HttpAnswer]:
        if self._head is None or self._head[0] != token:
            self._head = token, written({b"Authorization": b"Bearer " + token.encode("ascii")})
        headers, seconds = self._head[1], self.left(due)
        return self.http.exchange(b"GET", url, headers, None, seconds=seconds, most=self.most)


def unlike_matrix(answer: HttpAnswer) -> Outage:
    """Name what is wrong with an answer that is none of a homeserver's."""
    if answer.status == 404:
        return Outage(Reason.NOT_FOUND, "LOTUS_GUARD_SYNAPSE_URL does not lead to a homeserver")
    reason = Reason.SERVER_ERROR if answer.status >= 500 else Reason.GARBAGE
    return Outage(reason, f"unexpected answer {answer.status} from the homeserver")
