"""A homeserver as an application service meets it, of each temper; and how a test leads it."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

from tests.neighbours.answering import Answer

SERVER, SENDER = "s", "@guard:s"


def said(status: int = 200, **fields: Any) -> Answer:
    return Answer(status, json.dumps(fields).encode())


def refusal(status: int, errcode: str = "") -> Answer:
    known = {401: "M_UNKNOWN_TOKEN", 403: "M_FORBIDDEN", 404: "M_NOT_FOUND"}
    return said(status, errcode=errcode or known.get(status, "M_UNKNOWN"), error="made up")


@implementer(IAgent)
@define(eq=False)
class ModelHomeserver:
    """Knows who is in its rooms, and what events these have."""

    may_not_look: int = 403
    """What it answers who may not look: 403, or 404 like Tuwunel and Continuwuity."""
    cannot_act: int = 403
    """What it answers an application service that may not act as somebody: 401 on Dendrite."""
    hides_own_ban: bool = False
    """Whether who was banned may not see their own event: so on Dendrite."""
    token: str = "as-token"
    accounts: dict[str, str] = field(factory=dict)
    """Users by their own tokens."""
    users: Callable[[str], bool] = lambda _user: True
    """As whom the application service may act."""
    state: dict[tuple[str, str, str], dict[str, Any]] = field(factory=dict)
    """Room, type and key → content."""
    senders: dict[tuple[str, str, str], str] = field(factory=dict)
    """Room, type and key → who sent it, where that matters."""
    knows_formats: bool = True
    """Whether it gives all of an event, where that is asked for."""
    instead: Callable[[str, str], Answer | None] = lambda _what, _user: None
    """What it answers instead, of a type of event or `whoami` asked for as a user."""
    asked: list[tuple[str, str]] = field(factory=list)
    """Types of events, and `whoami`, each with as whom it was asked."""
    uris: list[str] = field(factory=list)

    def member(self, room: str, user: str, membership: str = "join") -> None:
        self.state[room, "m.room.member", user] = {"membership": membership}

    def request(
        self, _method: bytes, uri: bytes, headers: Headers | None = None, _body: Any = None
    ) -> Deferred[Any]:
        self.uris.append(uri.decode())
        target = urlsplit(uri.decode())
        query = parse_qs(target.query)
        user = query.get("user_id", [""])[0]
        is_whole = self.knows_formats and query.get("format") == ["event"]
        parts = [unquote(part) for part in target.path.split("/")[4:]]
        what = "whoami" if parts == ["account", "whoami"] else parts[3]
        self.asked.append((what, user))
        instead = self.instead(what, user)
        if instead is not None:
            return Deferred() if instead is HANGS else succeed(instead)
        return succeed(self._answer(headers or Headers(), user, parts, is_whole))

    def _answer(self, headers: Headers, user: str, parts: list[str], is_whole: bool) -> Answer:
        (bearer,) = headers.getRawHeaders(b"Authorization") or [b""]
        token = bearer.decode().removeprefix("Bearer ")
        if token in self.accounts:
            return said(user_id=self.accounts[token])
        if token != self.token:
            return refusal(401)
        if user not in ("", SENDER) and not (self._is_known(user) and self.users(user)):
            return refusal(self.cannot_act, "M_FORBIDDEN")
        if parts == ["account", "whoami"]:
            return said(user_id=user or SENDER)
        (_rooms, room, _state, event_type, key) = parts
        answer = self._event(user or SENDER, room, event_type, key)
        if is_whole and answer.code == 200:
            sender = self.senders.get((room, event_type, key), SENDER)
            content = self.state[room, event_type, key]
            return said(type=event_type, state_key=key, sender=sender, content=content)
        return answer

    def _is_known(self, user: str) -> bool:
        return user.startswith("@") and user.endswith(f":{SERVER}")

    def _event(self, user: str, room: str, event_type: str, key: str) -> Answer:
        own = self.state.get((room, "m.room.member", user), {}).get("membership")
        is_own = (event_type, key) == ("m.room.member", user)
        if own != "join" and not (is_own and own and not (own == "ban" and self.hides_own_ban)):
            return refusal(self.may_not_look)
        content = self.state.get((room, event_type, key))
        return refusal(404) if content is None else said(**content)


HANGS = Answer()
"""In the place of an answer: there is none."""


def clock_of(http: Any) -> Any:
    clock: IReactorTime = http.clock
    assert isinstance(clock, Clock)
    return clock
