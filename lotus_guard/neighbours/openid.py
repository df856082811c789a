"""Whose an OpenID token is: asked of our own homeserver, at the configured address and no other.

A client chooses the token and the server that it names. Another server than ours is never asked,
and never named to ours. What our homeserver makes of a token never counts for its breaker: the
token is a stranger's, and whatever it makes go wrong must not lead to the open path.
"""

from collections.abc import Callable
from hashlib import sha256
from urllib.parse import quote

from attrs import define, field, frozen

from lotus_guard.core.ids import is_user_id
from lotus_guard.core.lru import LruDict, weight
from lotus_guard.core.membership import server_of
from lotus_guard.core.model import UserId
from lotus_guard.core.objects import json_object, text_of
from lotus_guard.enforce.deferreds import SingleFlight
from lotus_guard.enforce.ports import Now, Outage, Reason
from lotus_guard.neighbours.http import Http, HttpAnswer
from lotus_guard.neighbours.our_server import OurServer

USERINFO = "/_matrix/federation/v1/openid/userinfo"
MOST_TOKEN = 1024
"""Bytes of a token. Synapse's have 24, Dendrite's 32."""
MOST_ANSWER = 4096
KNOWN_SECONDS = 30.0
"""For so long an answer is remembered: a panel that is open asks more often."""
MOST_KNOWN = 1000
UNKNOWN = frozenset({"M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_UNAUTHORIZED", "M_FORBIDDEN"})
"""What homeservers say of a token that is not theirs, or has run out."""


@frozen
class OpenIdToken:
    """A token as a client hands it on, and the server that it names as its issuer."""

    secret: str = field(repr=False)
    server: str

    @property
    def is_sound(self) -> bool:
        """Whether a homeserver could have made it; others are never asked about."""
        text = self.secret
        return 0 < len(text) <= MOST_TOKEN and text.isascii() and text.isprintable()

    @property
    def key(self) -> bytes:
        """What stands for it in memory, in place of the secret."""
        return sha256(f"{self.server}\0{self.secret}".encode(errors="replace")).digest()


@define(eq=False)
class OpenId:
    """Asks our homeserver whose a token is, and remembers that for a moment."""

    http: Http
    url: str
    """Base address of what serves `openid/userinfo`, without a trailing slash."""
    server: OurServer
    seconds: float
    """The deadline of one question."""
    now: Now
    on_call: Callable[[str], None] = lambda _what: None
    """Told of each call, for metrics."""
    _known: LruDict[bytes, tuple[float, UserId]] = field(
        init=False,
        factory=lambda: LruDict(MOST_KNOWN, weigh=lambda _key, known: weight(known[1])),
    )
    _flights: SingleFlight[bytes, UserId | None] = field(init=False, factory=SingleFlight)

    async def user(self, token: OpenIdToken) -> UserId | None:
        """Ask whose a token is; None where our homeserver does not vouch for it. Raises Outage."""
        if not token.is_sound or self.server.name not in ("", token.server):
            return None
        known = self._known.get(token.key)
        if known and self.now() - known[0] <= KNOWN_SECONDS:
            return known[1]
        user = await self._flights.join(token.key, lambda: self._ask(token))
        if user is not None:
            self._known.put(token.key, (self.now(), user))
        return user

    async def _ask(self, token: OpenIdToken) -> UserId | None:
        self.on_call("openid")
        url = f"{self.url}{USERINFO}?access_token={quote(token.secret, safe='')}"
        answer = await self.http.exchange(
            b"GET", url.encode("ascii"), {}, None, seconds=self.seconds, most=MOST_ANSWER
        )
        user = read_userinfo(answer)
        return user if user and server_of(user) == token.server else None


def read_userinfo(answer: HttpAnswer) -> UserId | None:
    """Read whom a homeserver vouches for; None for nobody. Raises Outage for any other answer."""
    fields = json_object(answer.body) or {}
    if answer.status == 200:
        sub = text_of(fields, "sub")
        if not is_user_id(sub):
            raise Outage(Reason.GARBAGE, "openid/userinfo names no user")
        return UserId(sub)
    if answer.status in (401, 403) and text_of(fields, "errcode") in UNKNOWN:
        return None
    said = f"the homeserver answered {answer.status} to openid/userinfo"
    reasons = {401: Reason.UNAUTHORIZED, 403: Reason.UNAUTHORIZED, 404: Reason.NOT_FOUND}
    reason = Reason.SERVER_ERROR if answer.status >= 500 else Reason.GARBAGE
    raise Outage(reasons.get(answer.status, reason), said)
