"""Whoever has much to do gives way to others."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.enforce.giving_way import (
    HOLD,
    MOST_PATIENCE,
    PATIENCE,
    PIECE,
    Turnstile,
    in_pieces,
)


class Rounds(Clock):
    """A clock that, as a reactor, leaves what is added in a round for the next one."""

    def round(self) -> None:
        for call in [each for each in self.calls if each.getTime() <= self.seconds()]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


def test_a_few_items_are_listed_at_once() -> None:
    listing = ensureDeferred(in_pieces(range(PIECE - 1), Clock()))
    assert listing.result == list(range(PIECE - 1))


def test_many_items_are_listed_in_their_order_and_others_have_a_turn_after_each_piece() -> None:
    clock, taken = Rounds(), list[int]()

    def items() -> Any:
        for number in range(3 * PIECE + 5):
            taken.append(number)
            yield number

    listing = ensureDeferred(in_pieces(items(), clock))
    for pieces in (1, 2, 3):
        assert len(taken) == pieces * PIECE
        clock.round()
    assert listing.result == taken == list(range(3 * PIECE + 5))


@define
class Gate:
    """A turnstile before which some wait."""

    clock: Rounds = field(factory=Rounds)
    is_awaited: bool = False
    turnstile: Turnstile = field(init=False)
    inside: list[int] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.turnstile = Turnstile(self.clock, lambda: self.is_awaited)

    def come(self, count: int) -> list[Any]:
        turns = [self.turnstile.turn() for _ in range(count)]
        for number, turn in enumerate(turns):
            turn.addCallbacks(lambda _none, n=number: self.inside.append(n), lambda _gone: None)
        return turns


def test_the_next_one_comes_in_when_the_one_before_is_done_and_not_in_the_same_round() -> None:
    gate = Gate()
    gate.come(3)
    assert gate.inside == []
    gate.clock.round()
    for count in (1, 2, 3):
        gate.clock.round()
        assert gate.inside == list(range(count)), "the one before is not done"
        gate.turnstile.leave()
        assert gate.inside == list(range(count)), "not before the next round"
        gate.clock.round()


def test_nobody_waits_long_for_one_that_waits_for_a_slow_neighbour() -> None:
    gate = Gate()
    gate.come(3)
    gate.clock.advance(0)
    for count in (1, 2, 3):
        assert gate.inside == list(range(count))
        gate.clock.advance(PATIENCE)


def test_while_somebody_waits_for_a_token_the_next_one_waits_a_moment_more() -> None:
    gate = Gate(is_awaited=True)
    gate.come(3)
    gate.clock.advance(HOLD / 2)
    assert gate.inside == []
    gate.clock.advance(HOLD / 2)
    assert gate.inside == [0]
    gate.turnstile.leave()
    gate.clock.advance(HOLD / 2)
    assert gate.inside == [0]
    gate.clock.advance(HOLD / 2)
    assert gate.inside == [0, 1]
    gate.clock.advance(MOST_PATIENCE - HOLD / 2)
    assert gate.inside == [0, 1]
    gate.clock.advance(HOLD / 2)
    assert gate.inside == [0, 1, 2]


def test_a_thousand_rooms_have_their_turns_in_time_though_tokens_are_asked_for_all_along() -> None:
    gate = Gate(is_awaited=True)
    for turn in gate.come(1000):
        turn.addCallback(lambda _none: gate.turnstile.leave())
    gate.clock.pump([HOLD / 8] * 9600)
    assert len(gate.inside) == 1000
    assert gate.clock.seconds() < 1.3


def test_nobody_who_waits_for_a_token_makes_a_pass_late() -> None:
    """Where each room waits for LiveKit for some milliseconds, five more would add up."""
    gate = Gate(is_awaited=True)
    gate.turnstile.until = 1.0
    gate.come(1000)
    gate.clock.pump([HOLD] * 1000)
    assert len(gate.inside) <= 1.0 / MOST_PATIENCE + 1
    gate.clock.pump([HOLD] * 1000)
    assert len(gate.inside) == 1000


def test_whoever_gives_up_holds_up_nobody() -> None:
    gate = Gate()
    first, second, _ = gate.come(3)
    first.cancel()
    second.cancel()
    gate.clock.advance(0)
    assert gate.inside == [2]
    gate.turnstile.leave()
    (last,) = gate.come(1)
    last.cancel()
    gate.clock.advance(0)
    gate.come(1)
    gate.clock.advance(0)
    assert gate.inside == [2, 0]
