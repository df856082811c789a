"""Synapse's module and LiveKit's webhooks, as a guard hears of them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from livekit.protocol import models as lk_models
from livekit.protocol import webhook as lk_webhook

from bench.traffic import KEY, SECRET, Ask, Table, claims_of
from lotus_guard.core.membership import MEMBER, Membership
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import POWER_LEVELS
from lotus_guard.rules import RULES, by_event
from lotus_guard.rules.push import (
    HEADER,
    Member,
    sign_push,
    write_heartbeat,
    write_members,
    write_push,
)
from lotus_guard.sandbox.livekit_webhooks import WEBHOOK_TYPE, sign_webhook
from tests.real.processes import http

PUSH_SECRET = "a-push-secret-for-the-benchmark"
COVERED = (*by_event(RULES), POWER_LEVELS, MEMBER)
"""What the module pushes with its default settings."""


def heartbeat(operators: str) -> None:
    """Show a guard that Synapse's module is there."""
    _push(operators, write_heartbeat(COVERED))


@contextmanager
def hinting(operators: str, table: Table | None = None, every: float = 1.0) -> Iterator[None]:
    """Send a guard signs of life of Synapse's module; with a table, what it hears of a join, too.

    The first sign has been taken when this begins.
    """
    heartbeat(operators)
    ended = threading.Event()

    def hint() -> None:
        number = 0
        while not ended.wait(every):
            heartbeat(operators)
            if table:
                joins(operators, table, table.asks[number * 7919 % len(table.asks)], number)
            number += 1

    thread = threading.Thread(target=hint, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(10.0)


def joins(operators: str, table: Table, ask: Ask, number: int) -> None:
    """Have a guard told of somebody who joins a room, and then its call, with new policies there.

    The `number` is the webhook's: each is believed once.
    """
    room = RoomId(ask.room)
    _push(operators, write_members(COVERED, [Member(room, UserId(ask.user), Membership.JOIN)]))
    events = table.policies()[room]
    _push(operators, write_push(room, {name: events.get(name) for name in by_event(RULES)}, RULES))
    http("POST", f"{operators}/webhook", *webhook("participant_joined", ask, number))


def webhook(event: str, ask: Ask, number: int) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of LiveKit's webhook about one who asked for a token."""
    claims = claims_of(ask.answer)
    told = lk_webhook.WebhookEvent(
        event=event,
        id=f"EV_{number}",
        room=lk_models.Room(name=claims["video"]["room"]),
        participant=lk_models.ParticipantInfo(identity=claims["sub"], sid="PA_n"),
    )
    body, signed = sign_webhook(told, KEY, SECRET, time.time())
    return body, {"Authorization": signed, "Content-Type": WEBHOOK_TYPE}


def push_headers(body: bytes) -> dict[str, str]:
    """The headers of a push of the module's."""
    return {HEADER: sign_push(body, PUSH_SECRET, time.time())}


def _push(operators: str, body: bytes) -> None:
    answer = http("POST", f"{operators}/policy", body, push_headers(body))
    assert answer.status == 204, (answer.status, answer.body)
