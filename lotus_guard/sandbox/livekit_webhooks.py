"""LiveKit's webhooks, as it signs and posts them."""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import treq
from google.protobuf import json_format
from treq.client import HTTPClient
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from lotus_guard.core.token import KeyPair, mint

WEBHOOK_TYPE = "application/webhook+json"


def sign_webhook(event: Any, key: str, secret: str, epoch: float) -> tuple[bytes, str]:
    """Write an event as LiveKit posts it: the body and the `Authorization` header's value.

    Its content type is WEBHOOK_TYPE.
    """
    body = json_format.MessageToJson(event).encode()
    digest = b64encode(hashlib.sha256(body).digest()).decode()
    now = int(epoch)
    return body, mint(KeyPair(key, secret), nbf=now, exp=now + 300, sha256=digest)


def webhook_poster(
    agent: IAgent, urls: Sequence[str], key: str, secret: str, epoch: Callable[[], float]
) -> Callable[[Any], None]:
    """Make a listener that posts each event to these addresses, and does not care what comes."""
    client = HTTPClient(agent)

    def post(event: Any) -> None:
        body, token = sign_webhook(event, key, secret, epoch())
        headers = Headers({"Authorization": [token], "Content-Type": [WEBHOOK_TYPE]})
        for url in urls:
            sent = client.post(url, data=body, headers=headers)
            sent.addCallback(treq.content).addErrback(lambda _failure: None)

    return post
