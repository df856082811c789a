"""Decisions in Redis, in a stream for each kind and rule: any guard tells what another decided."""

import json
from collections.abc import AsyncIterator
from typing import Any

from attrs import define, field

from lotus_guard.enforce.ports import Outage
from lotus_guard.memory.redis_keys import PIECE, Keyspace, in_background
from lotus_guard.memory.store import Clocks
from lotus_guard.memory.waiting_decisions import MOST_DECISIONS, WaitingDecisions
from lotus_guard.rules import RULES, STANDING
from lotus_guard.rules.decision import REQUEST, Decision, Deed, from_json, id_in_json

SOON_SECONDS = 0.5
_DECIDERS = (*(rule.name for rule in (*STANDING, *RULES)), REQUEST)
"""Who decides: each has a stream of decisions of its own."""


@define(eq=False)
class RedisDecisions:
    """Writes decisions down, and reads what all guards have."""

    keys: Keyspace
    clocks: Clocks
    keep_seconds: float
    _waiting: WaitingDecisions = field(init=False, factory=WaitingDecisions)
    _soon: Any = field(default=None, init=False)

    def decided(self, decision: Decision) -> None:
        """Write down a decision, with all others of the same half second."""
        self._waiting.add(decision)
        if self._soon is None:
            self._soon = self.clocks.reactor.callLater(SOON_SECONDS, self._write)

    async def read(self, room: str | None, user: str | None, most: int) -> list[Decision]:
        """The newest decisions on a room and a user; none where Redis has trouble."""
        found: list[Decision] = []
        try:
            for name in _streams():
                found += await self._read_stream(name, room, user, most)
        except Outage:
            return []
        return sorted(found, key=lambda decision: decision.at, reverse=True)[:most]

    async def find(self, reference: str) -> Decision | None:
        """The decision with this id; None where there is none, or Redis has trouble."""
        begins = id_in_json(reference)
        try:
            for name in _streams():
                async for body in self._bodies(name):
                    if body.startswith(begins):
                        return from_json(json.loads(body))
        except Outage:
            return None
        return None

    async def trim(self) -> None:
        """Drop what is too old; raises Outage."""
        oldest = max(0, int((self.clocks.epoch() - self.keep_seconds) * 1000))
        for name in _streams():
            await self.keys.command("XTRIM", name, "MINID", "~", oldest)

    def close(self) -> None:
        """Write what is left."""
        if self._soon is not None and self._soon.active():
            self._soon.cancel()
            self._write()

    def _write(self) -> None:
        self._soon = None
        waiting, self._waiting = self._waiting, WaitingDecisions()
        for decision in waiting.in_order():
            name = _stream(decision.ruling.deed, decision.ruling.rule)
            body = json.dumps(decision.as_json())
            in_background(
                self.keys.command("XADD", name, "MAXLEN", "~", MOST_DECISIONS, "*", "d", body)
            )

    async def _read_stream(
        self, name: str, room: str | None, user: str | None, most: int
    ) -> list[Decision]:
        found: list[Decision] = []
        async for body in self._bodies(name):
            decision = from_json(json.loads(body))
            ruling = decision.ruling
            if room in (None, ruling.room) and user in (None, ruling.user):
                found.append(decision)
            if len(found) >= most:
                break
        return found

    async def _bodies(self, name: str) -> AsyncIterator[str]:
        """The decisions of a stream as JSON, newest first."""
        last = "+"
        while True:
            entries = await self.keys.command("XREVRANGE", name, last, "-", "COUNT", PIECE)
            for number, (_name, body) in entries:
                yield body
                last = f"({number}"
            if len(entries) < PIECE:
                return


def _stream(deed: str, rule: str) -> str:
    return f"decisions:{deed}:{rule}"


def _streams() -> list[str]:
    return [_stream(deed, rule) for deed in Deed for rule in _DECIDERS]
