"""A model of the little of Redis that we use; the contract tests hold it to the real one."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, field

from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.memory.redis_scripts import BIND, CHANGE, CLAIM, LEAD, NAME, STEP_DOWN, Script

Words = Sequence[str | bytes | int]


def text(word: str | bytes | int) -> str:
    return word.decode("utf-8", "surrogatepass") if isinstance(word, bytes) else str(word)


@define(eq=False)
class Memory:
    """What is in the server, whoever is connected."""

    clock: Callable[[], float] = time.monotonic
    keys: dict[str, Any] = field(factory=dict)
    ends: dict[str, float] = field(factory=dict)
    ears: dict[str, list[Callable[[str], None]]] = field(factory=dict)

    def get(self, key: str) -> Any:
        if self.ends.get(key, float("inf")) <= self.clock():
            self.keys.pop(key, None)
            self.ends.pop(key, None)
        return self.keys.get(key)

    def flush(self) -> None:
        self.keys.clear()
        self.ends.clear()


@define(eq=False)
class ModelRedis:
    """One guard's connection to it."""

    memory: Memory
    clock_offset: float = 0.0
    is_away: bool = False
    away_since: float | None = None
    calls: int = 0

    async def command(self, *words: str | bytes | int) -> Any:
        self._reach()
        name, *arguments = map(text, words)
        return getattr(self, f"_{name.lower()}")(*arguments)

    async def script(self, script: Script, keys: Words, arguments: Words) -> Any:
        self._reach()
        known: dict[str, Any] = {
            CHANGE.name: self._change,
            LEAD.name: self._lead,
            STEP_DOWN.name: self._step_down,
            BIND.name: self._bind,
            CLAIM.name: self._claim,
            NAME.name: self._name,
        }
        return known[script.name](*map(text, keys), *map(text, arguments))

    def _reach(self) -> None:
        self.calls += 1
        if self.is_away:
            raise Outage(Reason.TIMEOUT, "the model is away")

    def _change(self, key: str, old: str, known: str, new: str, slack: str, *rest: str) -> Any:
        seats, change, whole, milliseconds = rest
        if self.memory.get(key) is None and _version((self.memory.get(old) or {}).get("v", "")):
            v, d = (self.memory.get(old)[name] for name in "vd")
            at = str(_version(v))
            self.memory.keys[key] = {"v": v, at: f"{v} -1 {{}}", "d": d, "b": at, "o": at}
            self._pexpire(key, milliseconds)
        table = self.memory.get(key) or {}
        there, missed = table.get("v", ""), list[str]()
        if there != known:
            start, end = _version(known), _version(there)
            if not table.get(str(start), "").startswith(f"{known} ") or end - start > 1000:
                since = _changes(table, int(table.get("b", end)), end)
                return [0, there, table.get("d", ""), *since]
            missed = _changes(table, start, end)
            said = [re.match(r"\S+ (-?\d+) ", each) for each in missed]
            seated = [int(match[1]) if match else -1 for match in said]
            if min(seated) < 0 or sum(seated) > int(slack):
                return [0, there, "", *missed]
        if not new:
            return [1, there, "", *missed]
        lineage, count, writer = new.split(":")
        number = int(count) + len(missed)
        there = f"{lineage}:{number}:{writer}"
        table = {} if number == 1 else dict(table)
        table |= {"v": there, str(number): f"{there} {seats} {change}"}
        if whole:
            base = int(table.get("b", number))
            for each in range(int(table.get("o", base)), base):
                table.pop(str(each), None)
            table |= {"d": whole, "b": str(number), "o": str(base)}
        self.memory.keys[key] = table
        self._pexpire(key, milliseconds)
        return [1, there, "", *missed]

    def _lead(self, leader: str, term: str, instance: str, milliseconds: str) -> int:
        holder = self.memory.get(leader)
        if holder is None:
            number = int(self.memory.get(term) or 0) + 1
            self.memory.keys[term] = str(number)
            self.memory.keys[leader] = f"{instance}:{number}"
        elif not holder.startswith(f"{instance}:"):
            return 0
        self._pexpire(leader, milliseconds)
        return int(self.memory.keys[leader].rpartition(":")[2])

    def _step_down(self, leader: str, instance: str) -> int:
        if (self.memory.get(leader) or "").startswith(f"{instance}:"):
            del self.memory.keys[leader]
        return 0

    def _bind(self, key: str, livekit_room: str, place: str, is_proof: str) -> str:
        table = self.memory.keys.setdefault(key, {})
        there = table.get(livekit_room)
        if there is not None and (is_proof != "1" or '"proof"' in there):
            return str(there)
        table[livekit_room] = place
        return place

    def _name(self, key: str, channel: str, identity: str, user: str, *rest: str) -> int:
        milliseconds, news = rest
        self._hset(key, identity, user)
        self._pexpire(key, milliseconds)
        self._publish(channel, news)
        return 0

    def _claim(self, key: str, identity: str, before: str, claim: str, milliseconds: str) -> Any:
        there = (self.memory.get(key) or {}).get(identity, "")
        if there != before:
            return [there]
        self.memory.keys.setdefault(key, {})[identity] = claim
        self._pexpire(key, milliseconds)
        return []

    def _hget(self, key: str, name: str) -> Any:
        return (self.memory.get(key) or {}).get(name)

    def _pexpire(self, key: str, milliseconds: str) -> int:
        self.memory.ends[key] = self.memory.clock() + int(milliseconds) / 1000
        return 1

    def _hset(self, key: str, *pairs: str) -> int:
        table = self.memory.keys.setdefault(key, {})
        table.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(pairs) // 2

    def _hgetall(self, key: str) -> list[str]:
        return [each for pair in (self.memory.get(key) or {}).items() for each in pair]

    def _hdel(self, key: str, *names: str) -> int:
        table = self.memory.get(key) or {}
        return sum(table.pop(name, None) is not None for name in names)

    def _del(self, *keys: str) -> int:
        return sum(self.memory.keys.pop(key, None) is not None for key in keys)

    def _hlen(self, key: str) -> int:
        return len(self.memory.get(key) or {})

    def _hscan(self, key: str, cursor: str, _count: str, most: str) -> list[Any]:
        begin, end = int(cursor), int(cursor) + int(most)
        pairs = list((self.memory.get(key) or {}).items())
        some = [each for pair in pairs[begin:end] for each in pair]
        return [str(end) if end < len(pairs) else "0", some]

    def _publish(self, channel: str, message: str) -> int:
        ears = self.memory.ears.get(channel, [])
        for hear in ears:
            hear(message)
        return len(ears)

    def _xadd(self, key: str, _maxlen: str, _about: str, most: str, _id: str, *pairs: str) -> str:
        stream = self.memory.keys.setdefault(key, [])
        stream.append([f"{len(stream) + 1}-0", list(pairs)])
        del stream[: -int(most)]
        return str(stream[-1][0])

    def _xrevrange(self, key: str, last: str, _to: str, _count: str, most: str) -> list[Any]:
        entries: Iterator[Any] = reversed(self.memory.get(key) or [])
        if last != "+":
            newest = _number(last.strip("(")) - last.startswith("(")
            entries = (each for each in entries if _number(each[0]) <= newest)
        return list(entries)[: int(most)]

    def _xtrim(self, key: str, _minid: str, _about: str, oldest: str) -> int:
        stream = self.memory.get(key) or []
        before = len(stream)
        stream[:] = [each for each in stream if _number(each[0]) >= int(oldest)]
        return before - len(stream)

    def _get(self, key: str) -> Any:
        return self.memory.get(key)

    def _ping(self) -> str:
        return "PONG"


def _number(entry: str) -> int:
    return int(entry.partition("-")[0])


def _version(text: str) -> int:
    return int(text.split(":")[1]) if text.count(":") == 2 else 0


def _changes(table: dict[str, str], after: int, until: int) -> list[str]:
    return [table[str(number)] for number in range(after + 1, until + 1)]
