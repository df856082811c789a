"""Who hangs up frees their seat at once, where LiveKit agrees that they are gone."""

import time
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from livekit.protocol import models as lk_models

from lotus_guard.core.model import Attendance, Grant, Identity, LiveKitRoom, Participant, RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.core.webhook import Event, EventKind
from lotus_guard.enforce.hang_ups import MOST_PEOPLE, HangUps
from lotus_guard.enforce.presence import Seen
from lotus_guard.sandbox.livekit_webhooks import sign_webhook
from lotus_guard.sandbox.stack import KEY, SECRET, TWO
from tests.calls import delivered, hook_up, join, settled
from tests.events import LIMIT_EVENT
from tests.world import World


@pytest.mark.parametrize("reason", ["CLIENT_INITIATED", "CONNECTION_TIMEOUT"])
@pytest_twisted.ensureDeferred
async def test_who_hangs_up_frees_their_seat_and_who_is_cut_off_keeps_it(
    world: World, reason: str
) -> None:
    world.start_guard()
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    sent = hook_up(world)
    alice = await join(world, "alice", TWO)
    await delivered(world, sent)
    livekit_room = livekit_room_of(RoomId(TWO), "m.call#ROOM")
    world.sandbox.sfu.leave(livekit_room, alice.identity, lk_models.DisconnectReason.Value(reason))
    await delivered(world, sent)
    expected = 200 if reason == "CLIENT_INITIATED" else 403
    assert (await world.ask("bob", TWO)).status == expected


@pytest_twisted.ensureDeferred
async def test_a_late_departure_does_not_cost_who_is_back_their_seat(world: World) -> None:
    world.start_guard()
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    events: list[Any] = []
    world.sandbox.sfu.listeners.append(
        lambda event: events.append(type(event).FromString(event.SerializeToString()))
    )
    alice = await join(world, "alice", TWO)
    livekit_room = livekit_room_of(RoomId(TWO), "m.call#ROOM")
    world.sandbox.sfu.leave(livekit_room, alice.identity)
    await join(world, "alice", TWO)  # the same identity, a new sid
    left = next(event for event in events if event.event == "participant_left")
    for _ in range(2):  # late, and twice
        body, token = sign_webhook(left, KEY, SECRET, time.time())
        await world.request("POST", "/sfu_webhook", body, {"Authorization": token})
    await settled(world)
    assert (await world.ask("bob", TWO)).status == 403


# By itself.

CALL = LiveKitRoom("call")
ALICE = Identity("@a:s:D")


def left(identity: str = ALICE, sid: str = "S1", **more: Any) -> Event:
    event = Event("EV", EventKind.LEFT, CALL, Identity(identity), sid, on_purpose=True)
    return evolve(event, **more)


def seen(*there: tuple[str, str], loud: tuple[Identity, ...] = ()) -> Seen:
    """A look that shows these identities, each with its connection."""
    people = tuple(Participant(Identity(i), sid, Grant(True, ())) for i, sid in there)
    return Seen(1.0, (CALL,), {CALL: Attendance(1.0, people, loud)})


def test_who_hung_up_and_is_gone_is_told_once() -> None:
    hang_ups = HangUps()
    hang_ups.note(left())
    assert hang_ups.confirmed_by(seen()) == {ALICE}
    assert hang_ups.confirmed_by(seen()) == set()


@pytest.mark.parametrize(
    "more", [{"on_purpose": False}, {"kind": EventKind.ABORTED}, {"kind": EventKind.JOINED}]
)
def test_who_was_cut_off_has_not_hung_up(more: dict[str, Any]) -> None:
    hang_ups = HangUps()
    hang_ups.note(left(**more))
    assert hang_ups.confirmed_by(seen()) == set()


def test_a_connection_that_has_ended_and_is_still_listed_is_waited_for() -> None:
    hang_ups = HangUps()
    hang_ups.note(left())
    assert hang_ups.confirmed_by(seen((ALICE, "S1"))) == set()
    assert hang_ups.confirmed_by(seen()) == {ALICE}


def test_who_is_back_by_another_connection_is_there() -> None:
    hang_ups = HangUps()
    hang_ups.note(left())
    assert hang_ups.confirmed_by(seen((ALICE, "S2"))) == set()
    assert hang_ups.confirmed_by(seen()) == set(), "later they were cut off, for all we know"


def test_who_is_there_and_could_not_be_read_is_not_gone() -> None:
    hang_ups = HangUps()
    hang_ups.note(left())
    assert hang_ups.confirmed_by(seen(loud=(ALICE,))) == set()


def test_a_look_at_other_livekit_rooms_says_nothing_of_this_one() -> None:
    hang_ups = HangUps()
    hang_ups.note(left(livekit_room=LiveKitRoom("other")))
    assert hang_ups.confirmed_by(seen()) == set()
    there = Seen(1.0, (), {LiveKitRoom("other"): Attendance(1.0, ())})
    assert hang_ups.confirmed_by(there) == {ALICE}


def test_so_many_are_remembered_of_one_livekit_room() -> None:
    hang_ups = HangUps()
    for number in range(MOST_PEOPLE + 5):
        hang_ups.note(left(f"@{number}:s:D"))
    assert len(hang_ups.confirmed_by(seen())) == MOST_PEOPLE
