"""Whoever has much to do gives way to others."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.enforce.giving_way import LEAST_HOLD, MOST_HOLD, PIECE, Turnstile, in_pieces


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


def test_one_comes_in_in_each_round_where_nobody_waits_for_a_token() -> None:
    gate = Gate()
    gate.come(3)
    assert gate.inside == []
    for count in (1, 2, 3):
        gate.clock.round()
        assert gate.inside == list(range(count))


def test_whoever_gives_up_holds_up_nobody() -> None:
    gate = Gate()
    first, second, _ = gate.come(3)
    first.cancel()
    second.cancel()
    gate.clock.advance(0)
    assert gate.inside == [2]
    (last,) = gate.come(1)
    last.cancel()
    gate.clock.advance(0)
    gate.come(1)
    gate.clock.advance(0)
    assert gate.inside == [2, 0]


def test_while_somebody_waits_for_a_token_the_pass_takes_the_time_that_it_has() -> None:
    gate = Gate(is_awaited=True)
    gate.turnstile.begin(rooms=200, seconds=1.0)
    gate.come(200)
    gate.clock.pump([0.0005] * 1000)
    assert 90 <= len(gate.inside) <= 110, "half of them in half of the time"
    gate.clock.pump([0.0005] * 1040)
    assert len(gate.inside) == 200


def test_a_pass_that_is_late_still_leaves_tokens_a_moment() -> None:
    gate = Gate(is_awaited=True)
    gate.turnstile.begin(rooms=50, seconds=-5.0)
    gate.come(50)
    gate.clock.pump([LEAST_HOLD / 4] * 60)
    assert 10 <= len(gate.inside) <= 16


def test_a_pass_with_few_rooms_is_not_held_up_for_long() -> None:
    gate = Gate(is_awaited=True)
    gate.turnstile.begin(rooms=2, seconds=1.0)
    gate.come(2)
    for count in (1, 2):
        gate.clock.advance(0)
        gate.clock.advance(MOST_HOLD)
        assert len(gate.inside) == count
