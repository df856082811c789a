"""Connections in the order of their waiting: which one goes, when, and that none is forgotten."""

from typing import Any

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lotus_guard.overload.connections import (
    IDLE_SECONDS,
    MOST_HELD,
    MOST_UNREAD,
    RECEIVE_SECONDS,
    UNREAD_SECONDS,
    Connections,
)


@define(eq=False)
class Line:
    """A connection that does nothing."""

    name: str = ""
    host: str | None = None
    peer: str | None = None
    parts: int = 0
    held: int = 0
    since: float = 0.0
    was_cut: bool = False

    def cut(self) -> None:
        self.was_cut = True


@define
class Port:
    """The connections of a port, on a clock that the test turns."""

    at: float = 0.0
    cuts: list[str] = field(factory=list)
    work: dict[str | None, int] = field(factory=dict)
    connections: Connections = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.connections = self.make()

    def make(self, **bounds: Any) -> Connections:
        self.connections = Connections(
            is_proxy=lambda peer: peer == "proxy",
            on_cut=self.cuts.append,
            on_work=self.worked,
            now=lambda: self.at,
            **bounds,
        )
        return self.connections

    def worked(self, peer: str | None, times: int) -> None:
        self.work[peer] = self.work.get(peer, 0) + times

    def connect(self, peer: str | None = "client") -> Line:
        line = Line()
        self.connections.made(line, peer)
        return line

    def serve(self, line: Line, is_idle: bool = True) -> None:
        self.connections.serves(line)
        self.connections.served(line, is_idle)


def test_over_the_bound_the_one_goes_that_has_waited_longest() -> None:
    port = Port()
    port.make(most=2)
    first, second, third = port.connect(), port.connect(), port.connect()
    assert [first.was_cut, second.was_cut, third.was_cut] == [True, False, False]
    assert port.cuts == ["room"]


def test_where_all_others_are_being_served_the_new_one_goes() -> None:
    port = Port()
    port.make(most=2)
    served = [port.connect(), port.connect()]
    for line in served:
        port.connections.serves(line)
    new = port.connect()
    assert new.was_cut
    assert not any(line.was_cut for line in served)


def test_an_idle_one_goes_before_a_new_one() -> None:
    port = Port()
    port.make(most=2)
    idle, served = port.connect(), port.connect()
    port.serve(idle)
    port.connections.serves(served)
    new = port.connect()
    assert (idle.was_cut, new.was_cut) == (True, False)


def test_one_client_has_so_many_and_a_proxy_more() -> None:
    port = Port()
    port.make(each=2)
    mine = [port.connect("192.0.2.1") for _ in range(3)]
    others = [port.connect(peer) for peer in ("proxy", "proxy", "proxy", None, None, None)]
    assert [line.was_cut for line in mine] == [True, False, False]
    assert not any(line.was_cut for line in others)


def test_of_too_much_that_is_not_whole_the_oldest_part_goes() -> None:
    port = Port()
    empty, first, second = port.connect(), port.connect(), port.connect()
    port.connections.hold(first, MOST_HELD // 2)
    port.connections.hold(second, MOST_HELD // 2)
    assert port.cuts == []
    port.connections.hold(second, 1)
    assert (empty.was_cut, first.was_cut, second.was_cut) == (False, True, False)
    assert port.connections.held == MOST_HELD // 2 + 1


def test_each_waits_as_long_as_what_it_waits_for_may_take() -> None:
    port = Port()
    late, idle, unread, closing = (port.connect() for _ in range(4))
    port.serve(idle)
    port.connections.serves(unread)
    port.connections.stuck(unread)
    port.connections.serves(closing)
    port.connections.closes(closing)
    for seconds, cut in (
        (RECEIVE_SECONDS - 0.1, []),
        (RECEIVE_SECONDS, [late]),
        (min(IDLE_SECONDS, UNREAD_SECONDS) - 0.1, [late]),
        (IDLE_SECONDS, [late, idle, unread, closing]),
    ):
        port.at = seconds
        port.connections.sweep()
        assert [line for line in (late, idle, unread, closing) if line.was_cut] == cut
    assert sorted(port.cuts) == ["idle", "late", "unread", "unread"]


def test_who_has_read_again_is_waited_for_anew() -> None:
    port = Port()
    line = port.connect()
    port.connections.serves(line)
    port.connections.stuck(line)
    port.at = UNREAD_SECONDS - 1
    port.connections.unstuck(line)
    port.connections.stuck(line)
    port.at = UNREAD_SECONDS + 1
    port.connections.sweep()
    assert not line.was_cut


def test_of_many_who_do_not_read_the_first_goes() -> None:
    port = Port()
    lines = [port.connect() for _ in range(MOST_UNREAD + 1)]
    for line in lines:
        port.connections.serves(line)
        port.connections.stuck(line)
    assert [line.was_cut for line in lines] == [True] + [False] * MOST_UNREAD


def test_the_work_of_a_request_is_its_clients_who_is_known_once_it_is_whole() -> None:
    port = Port()
    whole, lost = port.connect("a"), port.connect("b")
    for line in (whole, lost):
        port.connections.hold(line, 1)
        port.connections.hold(line, 1)
    assert port.work == {"a": 3, "b": 3}
    port.connections.serves(whole)
    port.connections.lost(lost)
    assert port.work == {"a": 0, "b": 3}, "what was for nobody stays the connection's"


def test_as_many_go_as_it_takes() -> None:
    """Those that hold a byte are no shield of those that came after them with all they may send."""
    port = Port()
    small = [port.connect() for _ in range(10)]
    for line in small:
        port.connections.hold(line, 1)
    big = [port.connect() for _ in range(2)]
    for line in big:
        port.connections.hold(line, MOST_HELD // 2)
    assert [line.was_cut for line in small] == [True] * 10
    assert [line.was_cut for line in big] == [False, False]
    assert port.connections.held == MOST_HELD


class Traffic(RuleBasedStateMachine):
    """Whatever connections do, and whoever is cut, the sums are right."""

    def __init__(self) -> None:
        super().__init__()
        self.port = Port()
        self.port.make(most=4, each=2)
        self.waiting: list[Line] = []
        self.served: list[Line] = []

    @rule(peer=st.sampled_from(["a", "b", "proxy", None]))
    def connect(self, peer: str | None) -> None:
        self.waiting.append(self.port.connect(peer))

    @rule(size=st.integers(0, MOST_HELD), data=st.data())
    def receive(self, size: int, data: Any) -> None:
        line = self.some(data, self.waiting)
        if line:
            self.port.connections.begins(line)
            self.port.connections.hold(line, size)

    @rule(data=st.data())
    def serve(self, data: Any) -> None:
        line = self.some(data, self.waiting)
        if line:
            self.waiting.remove(line)
            self.served.append(line)
            self.port.connections.serves(line)

    @rule(idle=st.booleans(), data=st.data())
    def answer(self, idle: bool, data: Any) -> None:
        line = self.some(data, self.served)
        if line:
            self.served.remove(line)
            self.waiting.append(line)
            self.port.connections.served(line, idle)

    @rule(data=st.data())
    def lose(self, data: Any) -> None:
        line = self.some(data, self.waiting + self.served)
        if line:
            self.drop(line)

    @rule(seconds=st.sampled_from([0.1, 15.0, 45.0]))
    def pass_time(self, seconds: float) -> None:
        self.port.at += seconds
        self.port.connections.sweep()

    def some(self, data: Any, lines: list[Line]) -> Line | None:
        return data.draw(st.sampled_from(lines)) if lines else None

    def drop(self, line: Line) -> None:
        for lines in (self.waiting, self.served):
            if line in lines:
                lines.remove(line)
        self.port.connections.lost(line)

    @invariant()
    def the_sums_are_right(self) -> None:
        for line in [line for line in self.waiting + self.served if line.was_cut]:
            self.drop(line)
        connections, lines = self.port.connections, self.waiting + self.served
        assert connections.open == len(lines)
        assert connections.held == sum(line.held for line in lines) <= MOST_HELD
        assert {*connections._receiving, *connections._idle} == set(self.waiting)
        own = [line for line in self.waiting if line.peer]
        assert sorted(map(id, own)) == sorted(
            id(line) for lines in connections._of.values() for line in lines
        )


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
