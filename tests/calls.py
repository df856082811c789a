"""Calls in the sandbox: who joins, what LiveKit then says of them, and what its webhooks tell."""

import time
from typing import Any

from livekit.protocol import models as lk_models
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater

from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.rules.decision import Decision
from lotus_guard.rules.push import sign_push
from lotus_guard.sandbox.livekit_webhooks import sign_webhook
from lotus_guard.sandbox.stack import KEY, SECRET, TWO
from tests.events import LIMIT_EVENT, push_of
from tests.world import Got, World, reactor

VIDEO, AUDIO = lk_models.TrackType.VIDEO, lk_models.TrackType.AUDIO
PUSH = "a-push-secret-for-tests"
NO_CAMERA = {"allow_camera": False}


async def join(world: World, name: str, room: str, **more: Any) -> Any:
    """Get a token through the guard and join; gives LiveKit's view of the participant."""
    got = await world.ask(name, room, "/get_token", **more)
    assert got.status == 200, got.body
    return world.sandbox.sfu.join(got.json()["jwt"])


async def full_room_and_a_drawer(world: World) -> str:
    """Fill the room for one, watched by the loop; gives carol's token from before the limit."""
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {})
    drawer: str = (await world.ask("carol", TWO, "/get_token")).json()["jwt"]
    await join(world, "alice", TWO)
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    await world.guard.live.run_pass()
    return drawer


async def fill(world: World) -> Got:
    """Fill the room for two, and ask for a third."""
    for name in ("alice", "bob"):
        assert (await world.ask(name, TWO)).status == 200
    return await world.ask("carol", TWO)


def last(world: World) -> Decision:
    return world.guard.overview.records.recent[-1]


def sources(info: Any) -> list[int]:
    return list(info.permission.can_publish_sources)


def people(world: World, room: str) -> set[str]:
    return set(world.sandbox.sfu.rooms[livekit_room_of(RoomId(room), "m.call#ROOM")])


def metric(world: World, name: str, **labels: str) -> float:
    return world.guard.metrics.registry.get_sample_value(name, labels) or 0.0


class Counting:
    """A RoomService that writes down which rooms are looked at."""

    def __init__(self, inner: Any, looks: list[LiveKitRoom]) -> None:
        self._inner, self._looks = inner, looks

    async def attendance(self, livekit_room: LiveKitRoom, allowance: Any = None) -> Any:
        self._looks.append(livekit_room)
        return await self._inner.attendance(livekit_room, allowance)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Troubled(Counting):
    """A RoomService of which some calls, with spaces between, fail in a given way."""

    def __init__(self, inner: Any, methods: str, fault: str) -> None:
        super().__init__(inner, [])
        self._methods, self._fault = methods.split(), fault

    def __getattribute__(self, name: str) -> Any:
        if name in ("_methods", "_fault", "_inner", "_looks", "_trouble"):
            return object.__getattribute__(self, name)
        if name in self._methods:
            return self._trouble
        return getattr(self._inner, name)

    async def _trouble(self, *_args: Any) -> Any:
        if self._fault == "bug":
            raise RuntimeError("a bug")
        raise Outage(Reason(self._fault), "made up")


def chosen(world: World, seconds: float = 0.0, at: float | None = None) -> list[RoomId]:
    """Choose the rooms of a pass that is begun so many seconds from now, or from `at`."""
    live, now = world.guard.live, (time.monotonic() if at is None else at) + seconds
    candidates = live.candidates
    candidates.now = lambda: now
    for events in candidates.policies.events:
        events.now = candidates.now
    found = candidates.of(live.counts, live.room_pass.people, live.room_pass.seats.limited)
    return live._rota.choose(found, live._most()).rooms


async def settled(world: World) -> None:
    for _ in range(1000):
        await deferLater(reactor, 0.01, lambda: None)
        if world.guard.live.turns.is_idle:
            return
    raise AssertionError("the room is still being worked on")


async def written(world: World) -> None:
    """Wait until the state file has all that was learnt; nothing is closed, as with kill -9."""
    store: Any = world.guard.memory.cluster.store
    for _ in range(1000):
        await deferLater(reactor, 0.01, lambda: None)
        if store._soon is None and store._writing is None and not store._batch:
            return
    raise AssertionError("the state file is still being written")


def hook_up(world: World) -> list[Deferred[Any]]:
    """Send LiveKit's webhooks to the guard, as LiveKit would."""
    sent: list[Deferred[Any]] = []

    def send(event: Any) -> None:
        body, token = sign_webhook(event, KEY, SECRET, time.time())
        headers = {"Authorization": token, "Content-Type": "application/webhook+json"}
        sent.append(ensureDeferred(world.request("POST", "/sfu_webhook", body, headers)))

    world.sandbox.sfu.listeners.append(send)
    return sent


async def delivered(world: World, sent: list[Deferred[Any]]) -> None:
    for each in sent:
        assert (await each).status == 200
    sent.clear()
    await settled(world)


def push(world: World, room: str, sources: dict[str, Any], sent: float | None = None) -> None:
    body = push_of(RoomId(room), None, sources)
    world.guard.hints.push(body, sign_push(body, PUSH, sent or time.time()))
