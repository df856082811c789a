"""People who come and go in the sandbox."""

from functools import partial
from random import Random
from typing import Any

import pytest
import pytest_twisted

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT
from lotus_guard.core.token import KeyPair, mint
from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.sandbox.generation import RUST
from lotus_guard.sandbox.life import (
    PLACES,
    STRANGER,
    VISITORS,
    AskToken,
    Life,
    move_in,
    token_asker,
)
from lotus_guard.sandbox.life_service import ARRIVALS
from lotus_guard.sandbox.livekit_state import LiveKitState, Source
from lotus_guard.sandbox.service import SEED
from lotus_guard.sandbox.synapse_state import SynapseState
from tests.world import World, reactor

KEY, SECRET = "key", "a-secret-of-at-least-32-characters"
KITCHEN = PLACES[0].room


@pytest.fixture
def sfu() -> LiveKitState:
    return LiveKitState(KEY, SECRET, lambda: 1_700_000_000.0, iter(map(str, range(10**6))).__next__)


def granting(sfu: LiveKitState, **more: object) -> AskToken:
    """Grant everyone but the stranger a token for the room, which is there by then."""

    async def ask(room: str, name: str) -> str | None:
        if name == STRANGER:
            return None
        sfu.create(room)
        video = {"room": room, "roomJoin": True, **more}
        return mint(KeyPair(KEY, SECRET), exp=2_000_000_000, sub=f"@{name}:sandbox", video=video)

    return ask


def lived(life: Life, steps: int) -> Life:
    for _ in range(steps):
        with pytest.raises(StopIteration):  # it has come to its end, and waits for nothing
            life.step().send(None)
    return life


def test_they_join_switch_things_on_and_leave(sfu: LiveKitState) -> None:
    told: list[str] = []
    sources: set[int] = set()
    sfu.listeners.append(lambda event: told.append(event.event))
    sfu.listeners.append(lambda event: sources.add(event.track.source))
    lived(Life(sfu, granting(sfu), Random(1)), 300)
    assert {"participant_joined", "participant_left"} <= set(told)
    assert told.count("track_published") > told.count("track_unpublished") > 10
    assert {Source.MICROPHONE, Source.CAMERA, Source.SCREEN_SHARE} <= sources


def noted(seen: list[str], event: Any) -> None:
    seen.append(str(event))


def test_the_same_seed_has_them_do_the_same(sfu: LiveKitState) -> None:
    told: list[list[str]] = []
    for _ in range(2):
        again = LiveKitState(KEY, SECRET, sfu.epoch, iter(map(str, range(10**6))).__next__)
        seen: list[str] = []
        again.listeners.append(partial(noted, seen))
        lived(Life(again, granting(again), Random(7)), 50)
        told.append(seen)
    assert told[0] == told[1] != []


def test_what_they_take_is_bounded(sfu: LiveKitState) -> None:
    life = lived(Life(sfu, granting(sfu), Random(3)), 5_000)
    people = [person for room in sfu.rooms.values() for person in room.values()]
    assert len(sfu.rooms) == len(sfu.infos) == len(PLACES)
    assert len(people) <= len(VISITORS)
    assert len({person.identity for person in people}) == len(people), "in one call at most"
    assert all(len(person.tracks) <= 3 for person in people)
    assert set(life._calls) <= set(VISITORS)


def test_what_a_token_forbids_is_left_alone(sfu: LiveKitState) -> None:
    ask = granting(sfu, canPublishSources=["microphone"])
    lived(Life(sfu, ask, Random(1)), 200)
    found = {
        track.source
        for room in sfu.rooms.values()
        for person in room.values()
        for track in person.tracks
    }
    assert found == {Source.MICROPHONE}


def test_with_the_seed_of_make_run_a_room_is_full_and_a_screen_shared_soon(
    sfu: LiveKitState,
) -> None:
    refused: list[str] = []
    told: list[Any] = []
    granted = granting(sfu)

    async def ask(room: str, name: str) -> str | None:
        if room == KITCHEN and len(sfu.rooms.get(room, {})) >= 3:
            refused.append(name)
            return None
        return await granted(room, name)

    sfu.listeners.append(told.append)
    lived(Life(sfu, ask, Random(SEED)), ARRIVALS)
    assert refused
    assert any(event.track.source == Source.SCREEN_SHARE for event in told)


def test_who_is_put_out_comes_again(sfu: LiveKitState) -> None:
    life = lived(Life(sfu, granting(sfu), Random(1)), 30)
    for room in list(sfu.rooms):
        for identity in list(sfu.rooms[room]):
            sfu.leave(room, identity)
    lived(life, 30)
    assert any(sfu.rooms.values())


def test_a_room_that_ended_meanwhile_is_not_joined(sfu: LiveKitState) -> None:
    async def ask(room: str, name: str) -> str | None:
        token = await granting(sfu)(room, name)
        sfu.delete(room) if token else None
        return token

    lived(Life(sfu, ask, Random(1)), 30)
    assert sfu.rooms == {}


def test_they_are_members_of_their_rooms_and_the_stranger_is_of_none() -> None:
    homeserver = SynapseState(lambda: "1")
    move_in(homeserver)
    assert set(homeserver.rooms) == {place.room for place in PLACES}
    assert homeserver.joined_rooms(f"@{VISITORS[0]}:sandbox") == [place.room for place in PLACES]
    assert homeserver.joined_rooms(f"@{STRANGER}:sandbox") == []


@pytest_twisted.ensureDeferred
async def test_a_real_guard_refuses_whom_it_would_refuse(world: World) -> None:
    world.sandbox.authorization.generation = RUST
    move_in(world.sandbox.homeserver)
    world.start_guard(LOTUS_GUARD_MEMBERS="on")
    agents = pooled_agents(reactor)
    ask = token_asker(agents.upstream, world.url)
    assert await ask(KITCHEN, STRANGER) is None
    tokens = [await ask(KITCHEN, name) for name in VISITORS[:4]]
    assert [token is not None for token in tokens] == [True, True, True, False]
    await agents.close()
    info = world.sandbox.sfu.join(str(tokens[0]))
    assert info.identity in world.sandbox.sfu.rooms[RUST.livekit_room(RoomId(KITCHEN), ROOM_SLOT)]
