"""What is remembered of rooms: one look-up for all who ask, and how long it serves."""

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.ports import Homeserver
from lotus_guard.enforce.remembered import MOST_AHEAD, Freshness, Kept, Remembered
from tests.enforce.stand_ins import AWAY, ROOM, result

AGE, STALE = 2.0, 600.0


@define(eq=False)
class Texts(Remembered[str]):
    """A text of each room, which a test hands over when it likes."""

    asked: list[tuple[Any, Deferred[str]]] = field(factory=list, kw_only=True)

    async def look_up(self, room: RoomId, homeserver: Homeserver) -> Kept[str]:
        begun, waiting = self.now(), Deferred[str]()
        self.asked.append((homeserver, waiting))
        kept = Kept(await waiting, begun)
        self.keep(room, kept)
        return kept

    def bytes_of(self, value: str) -> int:
        return len(value)

    def answer(self, text: str) -> None:
        self.asked.pop(0)[1].callback(text)


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1000.0)
    return clock


@pytest.fixture
def texts(clock: Clock) -> Texts:
    tokens: Any = "tokens"
    background: Any = "background"
    return Texts(tokens, background, Freshness(lambda: AGE, STALE), clock.seconds)


def get(texts: Texts, *more: Any) -> Deferred[str]:
    return ensureDeferred(texts.get(ROOM, *more))


def test_all_who_ask_at_once_share_one_look_up_and_later_ones_ask_anew(
    texts: Texts, clock: Clock
) -> None:
    waiting = [get(texts) for _ in range(3)]
    assert [side for side, _ in texts.asked] == ["tokens"]
    texts.answer("one")
    assert [result(each) for each in waiting] == ["one"] * 3
    assert result(get(texts)) == texts.at_hand(ROOM) == "one"
    clock.advance(AGE + 0.1)
    assert (texts.at_hand(ROOM), texts.is_fresh(ROOM)) == (None, False)
    again = get(texts, None, True)
    assert [side for side, _ in texts.asked] == ["background"]
    texts.answer("two")
    assert result(again) == "two"


def test_what_was_known_last_serves_in_an_outage_until_it_is_too_old(
    texts: Texts, clock: Clock
) -> None:
    texts.keep(ROOM, Kept("one", clock.seconds()))
    clock.advance(AGE + 1.0)
    failing = get(texts)
    texts.asked.pop(0)[1].errback(AWAY)
    assert result(failing).value is AWAY
    assert texts.last(ROOM) == "one"
    clock.advance(STALE)
    assert texts.last(ROOM) is None
    texts.sweep()
    assert texts.kept(ROOM) is None


def test_an_older_one_changes_nothing(texts: Texts, clock: Clock) -> None:
    assert texts.keep(ROOM, Kept("new", clock.seconds()))
    assert not texts.keep(ROOM, Kept("old", clock.seconds() - 1.0))
    assert texts.last(ROOM) == "new"


def test_what_is_outdated_is_asked_for_however_young_it_is(texts: Texts, clock: Clock) -> None:
    texts.keep(ROOM, Kept("one", clock.seconds()))
    clock.advance(0.1)
    texts.outdated(ROOM)
    assert texts.is_outdated(ROOM)
    assert not texts.is_fresh(ROOM, 100.0)
    waiting = get(texts)
    texts.answer("two")
    assert result(waiting) == "two"
    assert not texts.is_outdated(ROOM)


def test_look_ups_ahead_are_few(texts: Texts) -> None:
    for number in range(2 * MOST_AHEAD):
        texts.ahead(RoomId(f"!{number}:s"))
    assert len(texts.asked) == MOST_AHEAD


def test_what_clients_can_make_long_is_bounded_in_bytes(texts: Texts, clock: Clock) -> None:
    for number in range(70):
        texts.keep(RoomId(f"!{number}:s"), Kept("x" * 1024 * 1024, clock.seconds()))
    assert texts.kept(RoomId("!0:s")) is None
    assert texts.kept(RoomId("!69:s")) is not None
