"""Guards in front of neighbours that answer from memory, and what each process uses meanwhile.

Times are CPU seconds of threads (`/proc/PID/task/*/schedstat`), not seconds on the wall: on a busy
machine they grow by what a shared cache and a shared core cost, and not by waiting. Each figure is
taken in several parts, and the cheapest part counts: what disturbs only ever adds.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room

from bench.candidates import guard_command, guard_environment, redis
from bench.hinting import heartbeat
from bench.neighbours import Ports, neighbours
from bench.tools import cpu_of_threads, ports, rss, running
from bench.traffic import Ask
from bench.wire import Server
from lotus_guard.core.binding import Evidence
from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, livekit_room_of
from tests.real.processes import http, until

QUARTER = 0.25
LITTLE = 0.025
"""CPU seconds in a quarter of a second; a guard that rests takes less."""
Policies = Mapping[str, Mapping[str, Any]]
"""By room, the content of each event."""


@define
class Guarded:
    """A guard that runs."""

    pid: int
    port: int
    admin: int

    @property
    def operators(self) -> str:
        """Its operators' port."""
        return f"http://127.0.0.1:{self.admin}"

    def metrics(self) -> dict[str, float]:
        """Read its metrics, by name with labels."""
        lines = http("GET", f"{self.operators}/metrics").body.decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def heartbeat(self) -> None:
        """Show it that Synapse's module is there, and covers all."""
        heartbeat(self.operators)

    def cpu(self) -> float:
        """The CPU seconds that it has used."""
        return cpu_of_threads(self.pid)

    def rss(self) -> float:
        """The MiB that it has in memory."""
        return rss(self.pid)


@define(eq=False)
class World:
    """Neighbours that answer from memory, a Redis if need be, and guards."""

    directory: Path
    asks: Sequence[Ask]
    policies: Policies
    present: int = 4
    """How many people LiveKit says are in each room."""
    there: Ports = field(init=False, factory=lambda: Ports(*ports(3)))
    server: Server | None = field(init=False, default=None)
    guards: list[Guarded] = field(init=False, factory=list)
    _ends: ExitStack = field(init=False, factory=ExitStack)

    def begin(self, guards: int = 1, **settings: str) -> None:
        """Start the neighbours and so many guards; several share a Redis, and the first leads."""
        known = {room: str(livekit_room_of(RoomId(room), ROOM_SLOT)) for room in self.policies}
        command = neighbours(
            self.directory, self.there, self.asks, self.policies, list(known.values())
        )
        self._say_who_is_there()
        start = self._ends.enter_context
        start(running("neighbours", command, self.directory, self.there.upstream))
        if guards > 1:
            self.server = Server(*start(redis(self.directory)))
            for room, alias in known.items():
                place = json.dumps([room, ROOM_SLOT, Evidence.PROOF.value])
                self.server.call("HSET", "lotus_guard:aliases", alias, place)
        for number in range(guards):
            self._start_guard(number, settings)

    def _start_guard(self, number: int, settings: Mapping[str, str]) -> None:
        port, admin = ports(2)
        env = guard_environment(self.there, port, admin)
        state = self.server.address if self.server else str(self.directory / f"s{number}.sqlite")
        env |= {"LOTUS_GUARD_STATE": state, **settings}
        pid = self._ends.enter_context(
            running(f"guard{number}", guard_command(), self.directory, port, env)
        )
        self.guards.append(Guarded(pid, port, admin))
        if self.server and not number:
            until("the first leads", self._is_led, 30.0)

    def _is_led(self) -> bool:
        assert self.server
        return self.server.call("EXISTS", "lotus_guard:leader") == "1"

    def end(self) -> None:
        """Stop everything."""
        self._ends.close()

    def _say_who_is_there(self) -> None:
        people = lk_room.ListParticipantsResponse(participants=map(person, range(self.present)))
        path = self.directory / "twirp" / "livekit.RoomService" / "ListParticipants"
        path.write_bytes(people.SerializeToString())


def person(number: int) -> Any:
    """A participant whom no policy has anything against, with what a real LiveKit says of them."""
    microphone = lk_models.TrackSource.MICROPHONE
    return lk_models.ParticipantInfo(
        sid=f"PA_{number:012d}",
        identity=f"@there{number}:bench:NKQYWXRPLZ",
        state=lk_models.ParticipantInfo.State.ACTIVE,
        joined_at=1_800_000_000,
        permission=lk_models.ParticipantPermission(
            can_publish=True, can_subscribe=True, can_publish_sources=[microphone]
        ),
        tracks=[lk_models.TrackInfo(sid=f"TR_{number:012d}", source=microphone)],
    )


@contextmanager
def world(made: World, guards: int = 1, **settings: str) -> Iterator[World]:
    """Run a world until the block ends."""
    try:
        made.begin(guards, **settings)
        yield made
    finally:
        made.end()


Used = dict[str, float]
"""By process (`guard`, `other`, `redis`), CPU seconds; and what Redis counts."""


def used(made: World) -> Used:
    """What the processes of a world have used so far."""
    found = {name: each.cpu() for name, each in zip(("guard", "other"), made.guards, strict=False)}
    if made.server:
        found |= made.server.counts()
        found["redis"] = cpu_of_threads(made.server.pid)
    return found


def difference(after: Used, before: Used, share: float = 1.0) -> Used:
    """What was used in between, times a share."""
    return {name: (after[name] - before[name]) * share for name in before}


def cheapest(parts: Sequence[Used]) -> Used:
    """Of each figure the least."""
    return {name: min(part[name] for part in parts) for name in parts[0]}


def each_of(made: World, parts: Sequence[Callable[[], int]]) -> Used:
    """What each request takes, in the cheapest of some parts; a part returns how many it made.

    What is put off (decisions, news, looks at rooms) is waited for. What the processes use when
    nobody asks is measured first, and does not count.
    """
    rest(made)
    idle = {**_in_a_second(made), "news": 0.0}  # nobody tells anything unasked
    found = []
    for part in parts:
        before, begun = used(made), time.monotonic()
        count = part()
        rest(made)
        spent, taken = time.monotonic() - begun, difference(used(made), before)
        found.append({name: max(0.0, taken[name] - spent * idle[name]) / count for name in taken})
    return {**cheapest(found), **_on_average(found, ("redis", "news", "commands"))}


def rest(made: World) -> None:
    """Wait until the guards have nothing more to do than what they do each second."""
    until("the guards rest", lambda: _rests(made), 60.0, pause=0.0)


def _rests(made: World) -> bool:
    before = used(made)
    time.sleep(QUARTER)
    found = difference(used(made), before)
    return all(found.get(name, 0.0) < LITTLE for name in ("guard", "other"))


def _on_average(parts: Sequence[Used], names: Sequence[str]) -> Used:
    """What is too little in one part to be told from nothing, over all parts."""
    return {
        name: sum(part[name] for part in parts) / len(parts) for name in names if name in parts[0]
    }


def _in_a_second(made: World) -> Used:
    found = []
    for _ in range(4):
        before = used(made)
        time.sleep(QUARTER)
        found.append(difference(used(made), before, 1.0 / QUARTER))
    return cheapest(found)
