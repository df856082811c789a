"""LiveKit's webhooks as the sandbox signs and posts them."""

import base64
import hashlib
import json
from typing import Any

import jwt
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource

from lotus_guard.sandbox.livekit_webhooks import sign_webhook, webhook_poster
from lotus_guard.sandbox.site import sandbox_site
from tests.real.processes import free_port
from tests.sandbox.sfu import KEY, NOW, SECRET, Sfu
from tests.world import reactor


def test_webhooks_are_signed_over_their_bytes(sfu: Sfu) -> None:
    sfu.join()
    body, token = sign_webhook(sfu.events[0], KEY, SECRET, NOW)
    claims = jwt.decode(
        token, SECRET, algorithms=["HS256"], issuer=KEY, options={"verify_exp": False}
    )
    assert claims["sha256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
    fields = json.loads(body)
    assert fields["event"] == "participant_joined"
    assert fields["participant"]["identity"] == "alice"
    assert fields["room"]["name"] == "room"
    assert fields["createdAt"] == str(int(NOW))


@ensureDeferred
async def test_each_address_gets_each_event_whoever_else_hangs(sfu: Sfu) -> None:
    heard = Receiver()
    site = reactor.listenTCP(0, sandbox_site(heard), interface="127.0.0.1")
    agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))
    dead, alive = f"http://127.0.0.1:{free_port()}/", f"http://127.0.0.1:{site.getHost().port}/x"
    sfu.state.listeners.append(webhook_poster(agent, [dead, alive], KEY, SECRET, lambda: NOW))
    sfu.join()
    body, token, kind = await heard.first
    assert json.loads(body)["event"] == "participant_joined"
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert jwt.decode(token, options={"verify_signature": False})["sha256"] == digest
    assert kind == "application/webhook+json"
    await site.stopListening()


class Receiver(Resource):
    """Whoever is sent webhooks."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.first: Deferred[tuple[bytes, str, str]] = Deferred()

    def render(self, request: Any) -> bytes:
        sent = request.content.read()
        headers = (request.getHeader("Authorization"), request.getHeader("Content-Type"))
        self.first.callback((sent, *headers))
        return b""
