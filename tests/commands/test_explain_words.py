"""A decision in words."""

from attrs import evolve

from lotus_guard.commands.explain_words import lines_of, replayed
from lotus_guard.core.model import RoomId
from lotus_guard.rules.decision import Decision
from lotus_guard.rules.rulings import let_through
from tests.rulings import seat_refused


def test_hostile_names_do_not_reach_the_terminal() -> None:
    room = RoomId("!r\x1b[2J\u202e:s")
    for ruling in (
        seat_refused(room, "@u:s", 1, 1, ["@\x1b[31mu:s"]),
        let_through("limit", "timeout", "late\x07", room, "@u:s"),
    ):
        lines = lines_of(Decision("id", 0.0, False, ruling))
        assert all(line.isprintable() for line in lines)


def test_a_different_end_is_told() -> None:
    ruling = evolve(seat_refused(RoomId("!r:s"), "@u:s", 2, 2), inputs={"max_users": 3, "taken": 2})
    ruling = evolve(ruling, inputs={**ruling.inputs, "is_seated": False})
    assert "DIFFERENT" in lines_of(Decision("id", 0.0, False, ruling))[-1]
    broken = evolve(ruling, inputs={"max_users": 3})
    assert "not possible" in lines_of(Decision("id", 0.0, False, broken))[-1]
    assert replayed(Decision("id", 0.0, False, broken)) is None
    assert "at no known time" in lines_of(Decision("id", 1e300, False, ruling))[0]
    observed = lines_of(Decision("id", 0.0, True, ruling))
    assert "nothing was changed" in observed[0]


def test_whoever_it_is_about_is_named_as_far_as_that_is_on_record() -> None:
    room = RoomId("!r:s")
    assert "  user    @u:s" in lines_of(
        Decision("id", 0.0, False, seat_refused(room, "@u:s", 1, 1))
    )
    nobody = lines_of(
        Decision("id", 0.0, False, let_through("limit", "timeout", "late", None, None))
    )
    assert "  user    not recorded" in nobody
    assert "  room    not known" in nobody
