"""What several guards keep in one Redis: names of keys, and how one guard gets at them.

Below a prefix of the operator's choice (`lotus_guard:`):

    table:<room>       hash: the room's seats, and what has changed of them (redis_changes)
    leader, term       who runs the live loop, `<instance>:<term>`, for some seconds; how often it
                       has changed
    aliases            hash: alias (name of a LiveKit room) -> [room, slot, evidence]
    users:<alias>      hash: identity -> user
    claims:<alias>     hash: identity -> what may be given back to it (core.claim_json)
    policies           hash: room -> [header, body] of Synapse's last push for it
    decisions:<kind>:<rule>   stream of decisions (rules.decision) as JSON
    alive              written to see whether Redis takes anything at all
    news               channel: what one guard has just learnt or heard (redis_news)
"""

import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import ensureDeferred

from lotus_guard.enforce.deferreds import ignoring
from lotus_guard.enforce.ports import Outage
from lotus_guard.memory.redis_scripts import Script

PIECE = 500
"""So many entries are read or deleted with one command, which comes in time however many there are.
"""

Words = Sequence[str | bytes | int]


class Server(Protocol):
    """A Redis server, or the model of one."""

    clock_offset: float
    """How many seconds its clock is ahead of ours, as last measured."""

    async def command(self, *words: str | bytes | int) -> Any:
        """Run one command; raises Outage."""
        ...

    async def script(self, script: Script, keys: Words, arguments: Words) -> Any:
        """Run a script; raises Outage."""
        ...


@frozen
class Keyspace:
    """The keys of all guards that share a Redis, as one of them uses them."""

    server: Server
    prefix: str
    instance: str
    """Names this guard among them."""

    @property
    def channel(self) -> str:
        """Where news is told."""
        return self.key("news")

    def key(self, name: str) -> str:
        """The whole name of a key."""
        return f"{self.prefix}{name}"

    async def command(self, verb: str, name: str, *words: str | bytes | int) -> Any:
        """Run one command on the key of this name; raises Outage."""
        return await self.server.command(verb, self.key(name), *words)

    async def script(self, script: Script, names: Sequence[str], arguments: Words) -> Any:
        """Run a script on the keys of these names; raises Outage."""
        return await self.server.script(script, [self.key(name) for name in names], arguments)

    async def tell(self, kind: str, **fields: Any) -> None:
        """Publish a piece of news to the other guards; raises Outage."""
        await self.command("PUBLISH", "news", self.news(kind, **fields))

    def news(self, kind: str, **fields: Any) -> str:
        """Write a piece of news."""
        return json.dumps({"from": self.instance, "kind": kind, **fields})

    async def pairs(self, name: str) -> AsyncIterator[tuple[str, str]]:
        """Read a hash in pieces; raises Outage."""
        cursor = "0"
        while True:
            cursor, found = await self.command("HSCAN", name, cursor, "COUNT", PIECE)
            for pair in zip(found[::2], found[1::2], strict=True):
                yield pair
            if cursor == "0":
                return


def in_background(work: Coroutine[Any, Any, Any]) -> None:
    """Do what nobody waits for; an outage has been counted where it happened."""
    ignoring(ensureDeferred(work), Outage)
