"""A room is read within one bound of bytes and time, and whoever fills that cannot hide by it."""

import time
from typing import Any

import pytest
import pytest_twisted
from livekit.protocol import models as lk_models
from twisted.internet import reactor as _reactor
from twisted.logger import formatEvent

from lotus_guard.core.model import Kind, RoomId, kind_of
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.enforce.presence import KEPT
from lotus_guard.enforce.roll_call import KEPT_OUT, MOST_BYTES
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.calls import (
    AUDIO,
    NO_CAMERA,
    VIDEO,
    Troubled,
    full_room_and_a_drawer,
    join,
    metric,
    settled,
)
from tests.calls import people as present
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.world import World

reactor: Any = _reactor
TOO_LONG = "n" * (MOST_BYTES + 1)
SLOT = "m.call#ROOM"


def publish(world: World, room: str, who: Any, title: str = "", slot: str = SLOT) -> None:
    livekit_room = livekit_room_of(RoomId(room), slot)
    world.sandbox.sfu.publish(livekit_room, who.identity, Source.MICROPHONE, AUDIO, title=title)


def steps(world: World, step: str) -> float:
    return metric(world, "lotus_guard_live_steps_total", step=step, outcome="done")


# What a track is.


@pytest.mark.parametrize(
    ("mimes", "kind"),
    [
        (["audio/opus", "audio/opus"], Kind.AUDIO),
        (["audio/red", ""], Kind.AUDIO),
        (["video/VP8"], Kind.VIDEO),
        (["VIDEO/vp8"], Kind.VIDEO),
        (["audio/opus", "audio/opus", "video/H264"], Kind.VIDEO),
        (["", ""], Kind.UNKNOWN),
        (["MimeTypeUnknown"], Kind.UNKNOWN),
        ([], Kind.UNKNOWN),
    ],
)
def test_a_track_is_what_its_media_are(mimes: list[str], kind: Kind) -> None:
    assert kind_of(mimes) is kind


@pytest_twisted.ensureDeferred
async def test_a_video_that_is_declared_as_audio_silences_its_publisher(world: World) -> None:
    world.start_guard()
    alice, bob = await join(world, "alice", VOICE), await join(world, "bob", VOICE)
    livekit_room = livekit_room_of(RoomId(VOICE), SLOT)
    sfu = world.sandbox.sfu
    sfu.publish(livekit_room, alice.identity, Source.MICROPHONE, AUDIO, mime="video/VP8")
    sfu.publish(livekit_room, bob.identity, Source.MICROPHONE, AUDIO)
    await world.guard.live.run_pass()
    assert not alice.permission.can_publish
    assert bob.permission.can_publish
    bob.tracks[0].codecs.add(mime_type="video/VP9")  # a second codec, behind an honest first one
    await world.guard.live.run_pass()
    assert not bob.permission.can_publish


@pytest_twisted.ensureDeferred
async def test_the_declared_type_alone_silences_nobody(world: World) -> None:
    """A track whose media have not come, or are sound whatever its publisher calls them."""
    world.start_guard()
    alice = await join(world, "alice", VOICE)
    livekit_room = livekit_room_of(RoomId(VOICE), SLOT)
    world.sandbox.sfu.publish(livekit_room, alice.identity, Source.MICROPHONE, VIDEO)
    alice.tracks[0].mime_type = ""
    del alice.tracks[0].codecs[:]
    publish(world, VOICE, alice)
    alice.tracks[1].type = VIDEO
    await world.guard.live.run_pass()
    assert alice.permission.can_publish


# Reading fails, writing need not.


@pytest_twisted.ensureDeferred
async def test_in_a_room_that_cannot_be_read_a_policy_holds(world: World) -> None:
    world.start_guard()
    carol, alice = await join(world, "carol", OPEN), await join(world, "alice", OPEN)
    alice.metadata, alice.permission.can_publish_data = "mine", True
    publish(world, OPEN, alice, TOO_LONG)
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, NO_CAMERA)
    await world.guard.live.run_pass()
    assert Source.CAMERA not in list(carol.permission.can_publish_sources)
    assert carol.permission.can_publish
    assert list(alice.tracks) == []
    left = lk_models.ParticipantPermission(can_subscribe=True)
    assert (alice.permission, alice.metadata) == (left, "{}")
    assert steps(world, "curb") == 1.0
    await world.guard.live.run_pass()
    assert (steps(world, "curb"), steps(world, "narrow")) == (1.0, 1.0), "and that was all"
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_who_has_no_seat_is_put_out_of_a_room_that_cannot_be_read(world: World) -> None:
    world.start_guard()
    drawer = await full_room_and_a_drawer(world)
    (alice,) = world.sandbox.sfu.rooms[livekit_room_of(RoomId(TWO), SLOT)].values()
    publish(world, TWO, alice, TOO_LONG)
    world.sandbox.sfu.permit = lambda *_: None  # type: ignore[method-assign]  # nothing helps
    for _ in range(2):
        world.sandbox.sfu.join(drawer)
        await world.guard.live.run_pass()
        assert present(world, TWO) == {alice.identity}
    assert steps(world, "remove") == 2.0


@pytest_twisted.ensureDeferred
async def test_many_who_each_say_less_than_can_be_read_are_too_much_together(world: World) -> None:
    world.start_guard()
    honest = await join(world, "carol", VOICE)
    publish(world, VOICE, honest, "microphone")
    for number in range(20):
        loud = await join(world, "alice", VOICE, member=f"m{number}")
        publish(world, VOICE, loud, TOO_LONG[: 500 * 1024])
    await world.guard.live.run_pass()
    assert honest.permission.can_publish
    assert len(honest.tracks) == 1
    assert steps(world, "curb") >= 5.0, "until the rest can be read"
    assert metric(world, "lotus_guard_live_steps_total", step="curb", outcome="failed") == 0.0


@pytest_twisted.ensureDeferred
async def test_who_is_as_loud_as_before_is_not_curbed_without_end(world: World) -> None:
    world.start_guard()
    alice = await join(world, "alice", VOICE)
    publish(world, VOICE, alice, TOO_LONG)
    world.sandbox.sfu.permit = lambda *_: None  # type: ignore[method-assign]
    await world.guard.live.run_pass()
    await settled(world)
    assert steps(world, "curb") == 2.0, "once, and once when looking how it is now"
    await world.guard.live.run_pass()
    await settled(world)
    assert steps(world, "curb") == 3.0


@pytest_twisted.ensureDeferred
async def test_nobody_hides_behind_a_token_for_another_room(world: World) -> None:
    """The same device and member have one identity in all LiveKit rooms that they ask for."""
    world.start_guard()
    states, sfu = world.sandbox.homeserver, world.sandbox.sfu
    states.set_state(VOICE, SOURCES_EVENT, {})
    tokens = []
    for room in (VOICE, OPEN):
        for number in range(6):
            got = await world.ask("alice", room, "/get_token", member=f"m{number}")
            tokens.append(got.json()["jwt"])
    states.set_state(VOICE, SOURCES_EVENT, NO_CAMERA)
    for token in tokens[:4]:  # beside whom the beginning of the list names nobody else
        sfu.join(token).metadata = "x" * 20_000
    await world.guard.live.run_pass()
    loud, hidden = sfu.join(tokens[4]), sfu.join(tokens[5])
    publish(world, VOICE, loud, TOO_LONG)
    sfu.publish(livekit_room_of(RoomId(VOICE), SLOT), hidden.identity, Source.CAMERA, VIDEO)
    await world.guard.live.run_pass()
    assert list(hidden.tracks) == []
    assert not loud.permission.can_publish


@pytest_twisted.ensureDeferred
async def test_a_call_that_is_over_makes_nobody_unknown_in_another(world: World) -> None:
    world.start_guard()
    states = world.sandbox.homeserver
    states.set_state(TWO, LIMIT_EVENT, {})
    drawer = (await world.ask("carol", TWO, "/get_token")).json()["jwt"]
    await world.ask("carol", OPEN, "/get_token")
    await join(world, "alice", TWO)
    states.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    await world.guard.live.run_pass()
    other = livekit_room_of(RoomId(OPEN), SLOT)
    world.sandbox.sfu.delete(other)
    world.guard.memory.directory.archive({other})
    world.guard.memory.seats._tables[RoomId(TWO)].holds.clear()  # a minute later
    world.sandbox.sfu.join(drawer)
    await world.guard.live.run_pass()
    assert len(present(world, TWO)) == 1


# Slow by volume is no outage.


@pytest_twisted.ensureDeferred
async def test_one_seated_user_opens_no_full_room_by_volume(world: World) -> None:
    world.start_guard()
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    for number in range(9):
        slot = f"slot{number}"
        alice = await join(world, "alice", TWO, slot=slot)
        publish(world, TWO, alice, TOO_LONG[: 1 << 20], slot)
    for _ in range(3):
        assert (await world.ask("carol", TWO)).status == 403
    assert (await world.ask("alice", TWO)).status == 200
    assert world.fail_opens() == {}


@pytest.mark.parametrize("reason", ["timeout", "server_error", "reset", "garbage"])
@pytest_twisted.ensureDeferred
async def test_a_room_that_fails_while_livekit_answers_is_no_outage(
    world: World, reason: str
) -> None:
    world.start_guard()
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    await join(world, "alice", TWO)
    assert (await world.ask("carol", TWO)).status == 403
    presence = world.guard.live.room_pass.presence
    presence.service = Troubled(presence.service, "attendance", reason)
    assert (await world.ask("carol", TWO)).status == 403
    assert world.fail_opens() == {}
    presence.roll_call._flooded.pop(livekit_room_of(RoomId(TWO), SLOT))
    presence.service = Troubled(presence.service, "attendance ping", reason)
    if reason == "timeout":  # by which a client can keep LiveKit busy: the last look counts
        assert (await world.ask("carol", TWO)).status == 403
        presence._seen.pop(RoomId(TWO))  # nor does it count for longer than a minute
    assert (await world.ask("carol", TWO)).status == 200
    assert world.fail_opens() == {("limit", reason): 1.0}


@pytest_twisted.ensureDeferred
async def test_a_room_that_is_seen_in_part_is_counted_and_named_once_a_minute(
    world: World, logged: list[Any]
) -> None:
    world.start_guard()
    await join(world, "alice", VOICE)
    presence = world.guard.live.room_pass.presence
    presence.background = Troubled(presence.service, "attendance participant", "timeout")
    for passes in (1.0, 2.0):
        await world.guard.live.run_pass()
        assert metric(world, "lotus_guard_live_partial_looks_total") == passes
        presence.roll_call._flooded.pop(livekit_room_of(RoomId(VOICE), SLOT))
        presence._seen.pop(RoomId(VOICE))  # else who is slow twice is loud
    lines = [line for line in map(formatEvent, logged) if "is flooded" in line]
    assert len(lines) == 1
    assert VOICE in lines[0]


@pytest_twisted.ensureDeferred
async def test_a_flooder_does_not_keep_a_room_full(world: World) -> None:
    world.start_guard()
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    await join(world, "alice", TWO)
    assert (await world.ask("carol", TWO)).status == 403
    guard, now = world.guard, time.monotonic()
    presence = guard.live.room_pass.presence
    presence.service = Troubled(presence.service, "attendance", "timeout")
    public: Any = guard.public.door.behind
    admission = public.exchange.admission
    for part in (presence, presence.roll_call, admission.desk, admission.judge_rules):
        part.now = lambda: now + KEPT + world.config.seat_grace + KEPT_OUT
    assert (await world.ask("carol", TWO)).status == 200
    assert (await world.ask("bob", TWO)).status == 403, "and what was given since counts"
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_after_answers_that_are_too_long_the_next_question_is_answered(world: World) -> None:
    """Twisted keeps a connection whose answer came in one piece, although we are closing it."""
    world.start_guard()
    for number in range(4):
        (await join(world, "alice", VOICE, member=f"m{number}")).metadata = "x" * 20_000
    livekit, livekit_room = world.guard.live.service, livekit_room_of(RoomId(VOICE), SLOT)
    there = (await livekit.attendance(livekit_room)).participants
    for _ in range(3):  # each is answered with all that alice is
        await gather_bounded(4, (livekit.permit(livekit_room, each, each.grant) for each in there))
        assert livekit_room in await livekit.existing()
