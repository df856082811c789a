"""The last decisions, from memory and from where they are kept."""

from types import SimpleNamespace
from typing import Any

from attrs import define, field

from lotus_guard.core.model import RoomId
from lotus_guard.observe.last_decisions import LastDecisions
from lotus_guard.rules.decision import Decision, Deed, Ruling
from tests.neighbours.answering import result_of


def decision(number: int, room: str = "!r:s", user: str = "@a:s") -> Decision:
    ruling = Ruling(Deed.REFUSED, "limit", "refused", "full", RoomId(room), user)
    return Decision(f"id{number}", float(number), False, ruling)


@define(eq=False)
class Kept:
    found: list[Decision] = field(factory=list)
    asked: list[Any] = field(factory=list)

    async def decisions(
        self, room: str | None = None, user: str | None = None, most: int = 100
    ) -> list[Decision]:
        self.asked.append((room, user, most))
        return self.found

    async def decision(self, reference: str) -> Decision | None:
        self.asked.append(reference)
        return next((each for each in self.found if each.id == reference), None)


def last(kept: list[Decision], recent: list[Decision]) -> LastDecisions:
    records: Any = SimpleNamespace(recent=recent)
    return LastDecisions(Kept(kept), records)


def ids(found: list[Decision]) -> list[str]:
    return [each.id for each in found]


def test_what_is_kept_and_what_is_not_yet_come_once_each_newest_first() -> None:
    made = last([decision(1), decision(2)], [decision(2), decision(4), decision(3)])
    assert ids(result_of(made.on())) == ["id4", "id3", "id2", "id1"]
    assert ids(result_of(made.on(most=2))) == ["id4", "id3"]


def test_only_the_room_and_the_user_that_are_asked_for() -> None:
    recent = [decision(1), decision(2, room="!x:s"), decision(3, user="@b:s")]
    assert ids(result_of(last([], recent).on("!r:s"))) == ["id3", "id1"]
    assert ids(result_of(last([], recent).on(user="@a:s"))) == ["id2", "id1"]
    made = last([], recent)
    result_of(made.on("!r:s", "@a:s", 7))
    assert isinstance(made.kept, Kept)
    assert made.kept.asked == [("!r:s", "@a:s", 7)]


def test_one_is_found_by_its_id_in_memory_or_where_it_is_kept() -> None:
    made = last([decision(1)], [decision(2)])
    assert isinstance(made.kept, Kept)
    assert result_of(made.with_id("id2")) == decision(2)
    assert made.kept.asked == [], "what is in memory is not looked for elsewhere"
    assert result_of(made.with_id("id1")) == decision(1)
    assert result_of(made.with_id("id3")) is None
