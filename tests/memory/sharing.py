"""A guard's part in a shared Redis, on the model and on a clock turned by hand."""

import json
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.transactions import Changes
from lotus_guard.memory.redis_keys import Keyspace
from tests.model_redis import Memory, ModelRedis

NOW, EPOCH = 1000.0, 1_790_000_000.0


@define(eq=False)
class Party:
    """One guard: its keys and its clocks; all that is told in the channel is kept."""

    memory: Memory = field(factory=Memory)
    instance: str = "one"
    reactor: Clock = field(factory=Clock)
    server: ModelRedis = field(init=False)
    keys: Keyspace = field(init=False)
    told: list[dict[str, Any]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.server = ModelRedis(self.memory)
        self.keys = Keyspace(self.server, "p:", self.instance)
        ears = self.memory.ears.setdefault(self.keys.channel, [])
        ears.append(lambda message: self.told.append(json.loads(message)))

    def now(self) -> float:
        return NOW + self.reactor.seconds()

    def epoch(self) -> float:
        return EPOCH + self.reactor.seconds()


@define
class Heard:
    """What the others told."""

    all: list[object] = field(factory=list)

    def on_push(self, body: bytes, header: str) -> None:
        self.all.append(("push", body, header))

    def on_old_push(self, body: bytes, header: str) -> None:
        self.all.append(("old push", body, header))

    def on_webhook(self, body: bytes, authorization: str) -> None:
        self.all.append(("webhook", body, authorization))

    def on_changes(self, changes: Changes) -> None:
        self.all.append(("changes", changes))

    def on_issued(self, room: RoomId) -> None:
        self.all.append(("issued", room))
