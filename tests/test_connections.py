"""Of requests that are not whole, as many go as it takes to keep the bound."""

from attrs import define

from lotus_guard.bounded import MOST_HELD, BoundedChannel, Connections


@define(eq=False, slots=False)
class Line(BoundedChannel):
    """A connection without a socket."""

    was_cut: bool = False

    def cut(self) -> None:
        self.was_cut = True


def connect(connections: Connections) -> Line:
    line = Line()
    connections.made(line, "client")
    return line


def test_those_that_hold_a_byte_are_no_shield_of_those_that_came_after_them() -> None:
    connections = Connections()
    small = [connect(connections) for _ in range(10)]
    for line in small:
        connections.hold(line, 1)
    big = [connect(connections) for _ in range(2)]
    for line in big:
        connections.hold(line, MOST_HELD // 2)
    assert [line.was_cut for line in small] == [True] * 10
    assert [line.was_cut for line in big] == [False, False]
    assert connections.held == MOST_HELD
