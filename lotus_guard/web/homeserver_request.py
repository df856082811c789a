"""A request at the homeserver's door: from a homeserver of ours, and for whom it is handed on.

The homeserver is one address. So whoever it hands a request on for is the client here: one of its
users, or another homeserver. Only it may name them, which it proves by its token, where we know
that (`hs_token` of its registration); where we do not, the port must be one that only it reaches.
"""

import hmac

from attrs import define, field
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from lotus_guard.core.homeserver_wire import (
    ORIGIN_HEADER,
    USER_HEADER,
    Sender,
    server_sender,
    user_sender,
)
from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.sentence import Sentence
from lotus_guard.core.strict_json import Unreadable
from lotus_guard.core.wire import served_path, without_slashes
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.ports import Now
from lotus_guard.neighbours.upstream import target_of
from lotus_guard.overload.client_address import Origin
from lotus_guard.web.client_request import ClientRequest
from lotus_guard.web.problems import UNRECOGNISED, Objections, Problem

_log = Logger()

_ITSELF = Origin("homeserver")
"""What a homeserver asks for nobody else."""
_MISSING = Sentence("Missing homeserver access token")
_CLIENT, _FEDERATION = b"/_matrix/client/", b"/_matrix/federation/"


@define(eq=False)
class Homeservers:
    """Knows for whom a homeserver asks."""

    hs_token: Credential[str]
    """What our homeserver proves itself by; an empty one is not asked for."""
    objections: Objections
    now: Now
    _throttle: LogThrottle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._throttle = LogThrottle(self.now)

    def of(self, request: ClientRequest) -> Origin:
        """Return for whom a request is handed on, and note that in it; raises Problem."""
        self._check_token(request)
        request.sender = self._sender(request)
        if request.sender is None:
            return _ITSELF
        return Origin(request.sender.user or request.sender.server)

    def is_ours(self, headers: Headers) -> bool:
        """Whether these headers prove that it is our homeserver; without its token, none do."""
        token = _token_in(headers)
        believed = [each for each in self.hs_token.believed() if each]
        found = [hmac.compare_digest(token or b"", each.encode()) for each in believed]
        return len(headers.getRawHeaders(b"Authorization", [])) == 1 and any(found)

    def note(self, who: Origin) -> None:
        """Take note of nothing: each request says for whom it is."""

    def _check_token(self, request: ClientRequest) -> None:
        """Raise Problem, in upstream's words, for whoever is no homeserver of ours.

        Nothing of it is put on record: whoever it is, they have proved nothing. But the log says
        it, once a minute: it may be our homeserver, with another token than ours.
        """
        if not self.hs_token.value:
            return
        if _token_in(request.requestHeaders) is None:
            self._tell("it had no token")
            raise Problem(401, "M_MISSING_TOKEN", _MISSING)
        if not self.is_ours(request.requestHeaders):
            self._tell("its token is not the hs_token that the guard has")
            raise Problem(401, "M_UNKNOWN_TOKEN", UNRECOGNISED)

    def _tell(self, found: str) -> None:
        """Log a refusal, in few words of ours: never a token, nor anything else that was sent."""
        more = self._throttle.more(found)
        if more is not None:
            _log.warn(
                "Refused a request at the homeserver's port: {found} ({name}){more}. If your "
                "homeserver sent it: let Synapse, lk-jwt-service and the guard read one "
                "registration, and restart all three after changing hs_token.",
                found=found,
                name=self.hs_token.name,
                more=more,
            )

    def _sender(self, request: ClientRequest) -> Sender | None:
        """For whom a request is handed on; None for what a homeserver asks of itself."""
        users, origins = (_said(request, name) for name in (USER_HEADER, ORIGIN_HEADER))
        path = _path_of(request.uri)
        wanted = (path.startswith(_CLIENT), path.startswith(_FEDERATION))
        if (len(users), len(origins)) != wanted:
            self.objections.refuse(Problem(400, "M_INVALID_PARAM", Sentence("sender_unclear")))
        try:
            if users:
                return user_sender(_text(users[0]))
            return server_sender(_text(origins[0])) if origins else None
        except Unreadable as why:
            self.objections.refuse(Problem(400, why.errcode, why.sentence))


def _token_in(headers: Headers) -> bytes | None:
    """The token in the first of these headers that says who asks; None where it has none."""
    said = headers.getRawHeaders(b"Authorization", [])
    scheme, _, token = (said[0] if said else b"").partition(b" ")
    return token if scheme.lower() == b"bearer" else None


def _path_of(uri: bytes) -> bytes:
    """The path by which the route is found; one that nobody serves is nobody's."""
    try:
        return served_path(without_slashes(target_of(uri)))
    except ValueError:  # the door refuses it
        return b""


def _text(value: bytes) -> str:
    """Read what a header says; nothing of what upstream takes for no text, and reads otherwise."""
    return value.decode("ascii") if value.isascii() else ""


def _said(request: ClientRequest, name: bytes) -> list[bytes]:
    """List what a header says, in any spelling that some server could take for it."""
    wanted = name.lower()
    return [
        value
        for spelling, values in request.requestHeaders.getAllRawHeaders()
        for value in values
        if spelling.strip().lower().replace(b"_", b"-") == wanted
    ]
