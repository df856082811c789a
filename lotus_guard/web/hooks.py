"""LiveKit's webhooks as they come in at a port."""

from typing import Protocol

from twisted.web.http_headers import Headers

from lotus_guard.core.webhook import MOST_WEBHOOK


class Hooks(Protocol):
    """Takes LiveKit's webhooks in."""

    def are_livekits(self, authorization: str) -> bool:
        """Whether a request's Authorization shows that LiveKit has sent it."""

    def take(self, body: bytes, authorization: str) -> None:
        """Take a webhook in, whoever sent it; never raises."""


def most_bytes(hooks: Hooks, headers: Headers) -> int | None:
    """How long a webhook with this head may be; None where LiveKit has not sent it.

    Its token is in the head, so a stranger's body is never kept at such length.
    """
    authorization = headers.getRawHeaders(b"Authorization", [b""])[-1].decode("latin-1")
    return MOST_WEBHOOK if hooks.are_livekits(authorization) else None
