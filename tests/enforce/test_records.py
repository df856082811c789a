"""Decisions on record: stamped, within bounds, and with users as far as the operator wants."""

from itertools import islice

from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.records import (
    IDS_AT_ONCE,
    MOST_RECENT,
    MOST_UNGUARDED,
    ONCE_SECONDS,
    Recorder,
    is_id,
    mask_of,
    short_id,
    short_ids,
)
from lotus_guard.observe.log import (
    line_of,
)
from lotus_guard.rules.decision import Decision, Deed, Ruling
from lotus_guard.rules.giving import GIVING
from lotus_guard.rules.rulings import request_refused
from tests.rulings import seat_refused

ROOM = RoomId("!r:s")


class Counted:
    """Counters that count nothing but calls."""

    def __init__(self) -> None:
        self.decisions = 0
        self.fail_opens = self.unenforced = 0

    def decided(self, ruling: Ruling, observed: bool) -> None:
        self.decisions += 1

    def failed_open(self, rule: str, outage: Outage) -> None:
        self.fail_opens += 1

    def passed_elsewhere(self) -> None:
        raise AssertionError("no token goes elsewhere here")

    def not_enforced(self, rule: str, outage: Outage) -> None:
        self.unenforced += 1


def recorder(clock: Clock, counted: Counted | None = None) -> Recorder:
    numbers = iter(range(1_000_000))
    return Recorder(
        epoch=lambda: 1_790_000_000.0 + clock.seconds(),
        now=clock.seconds,
        random=lambda size: b"".join(next(numbers).to_bytes(5, "big") for _ in range(size // 5)),
        mask=lambda person: person,
        counters=counted or Counted(),
    )


def refusal(number: int = 0, room: RoomId = ROOM) -> Decision:
    return Decision(f"id{number}", 1000.0 + number, False, seat_refused(room, "@u:s", 2, 2, []))


def test_what_is_tried_again_and_again_is_counted_each_time_and_written_once_a_minute() -> None:
    clock, counted = Clock(), Counted()
    records = recorder(clock, counted)
    outage = Outage(Reason.TIMEOUT, "late")
    for _ in range(3):
        records.failed_open("limit", outage, ROOM, again=True)
    assert (counted.fail_opens, len(records.recent)) == (3, 1)
    records.failed_open("sources", outage, ROOM, again=True)
    records.failed_open("limit", outage, RoomId("!other:s"), again=True)
    assert len(records.recent) == 3
    clock.advance(ONCE_SECONDS)
    records.failed_open("limit", outage, ROOM, again=True)
    records.failed_open("limit", outage, ROOM)
    assert len(records.recent) == 5


def test_what_the_live_loop_cannot_enforce_is_no_fail_open_and_is_written_once_a_minute() -> None:
    clock, counted = Clock(), Counted()
    records = recorder(clock, counted)
    for detail in ("late", "later"):
        records.not_enforced("limit", Outage(Reason.TIMEOUT, detail))
    records.not_enforced("limit", Outage(Reason.REFUSED, "not there"))
    records.not_enforced("sources", Outage(Reason.TIMEOUT, "late"))
    assert (counted.fail_opens, counted.unenforced) == (0, 4)
    told = [(each.ruling.deed, each.ruling.rule, each.ruling.why) for each in records.recent]
    assert told == [
        ("unenforced", "limit", "late (timeout)"),
        ("unenforced", "limit", "not there (refused)"),
        ("unenforced", "sources", "late (timeout)"),
    ]
    clock.advance(ONCE_SECONDS)
    records.not_enforced("limit", Outage(Reason.TIMEOUT, "late"))
    assert len(records.recent) == 4
    assert "not enforced, by the limit rule: late (timeout)" in line_of(records.recent[-1])


def test_watchers_are_told_of_each_ruling_also_of_those_that_are_not_written_again() -> None:
    told: list[tuple[Ruling, bool]] = []
    records = recorder(Clock())
    records.watchers.append(lambda ruling, observed: told.append((ruling, observed)))
    ruling = seat_refused(ROOM, "@c:s", 2, 2)
    for _ in range(3):
        records.decided(ruling, observed=True, once="a")
    records.failed_open("limit", Outage(Reason.TIMEOUT, "late"), ROOM)
    assert len(records.recent) == 2
    assert told[:3] == [(ruling, True)] * 3
    assert [(each.deed, observed) for each, observed in told[3:]] == [(Deed.FAIL_OPEN, False)]


def test_the_same_complaint_has_the_same_id() -> None:
    records = recorder(Clock())
    ruling = request_refused(400, "M_BAD_JSON", "twice")
    assert records.decided(ruling, once="a") == records.decided(ruling, once="a")
    assert records.decided(ruling) != records.decided(ruling)


def test_recent_decisions_are_bounded_and_rooms_are_tallied() -> None:
    records = recorder(Clock())
    for _ in range(MOST_RECENT + 10):
        records.decided(refusal().ruling)
    assert len(records.recent) == MOST_RECENT
    assert records.tally(ROOM)[Deed.REFUSED] == MOST_RECENT + 10
    assert records.tally(RoomId("!other:s"))[Deed.REFUSED] == 0


def test_refusals_in_made_up_rooms_make_no_fail_open_forgotten() -> None:
    records = recorder(Clock())
    records.failed_open("limit", Outage(Reason.TIMEOUT, "it hangs"), ROOM)
    records.decided(Ruling(Deed.REFUSED, "members", "", "", ROOM))
    assert records.tally(ROOM) == {Deed.REFUSED: 1, Deed.FAIL_OPEN: 1}
    for number in range(20_001):
        records.decided(Ruling(Deed.REFUSED, "members", "", "", RoomId(f"!{number}:s")))
    assert records.tally(ROOM) == {Deed.FAIL_OPEN: 1}
    assert [each.ruling.room for each in records.unguarded] == [ROOM]
    for _ in range(MOST_UNGUARDED):
        records.failed_open("limit", Outage(Reason.TIMEOUT, "it hangs"), RoomId("!x:s"))
    assert len(records.unguarded) == MOST_UNGUARDED


def test_a_gift_is_on_record_and_not_in_the_tally() -> None:
    records = recorder(Clock())
    for rule in ("sources", GIVING):
        records.decided(Ruling(Deed.STEP, rule, "", "", ROOM))
    assert len(records.recent) == 2
    assert records.tally(ROOM)[Deed.STEP] == 1


def test_a_hashed_user_is_the_same_each_time_and_depends_on_the_secret() -> None:
    hashed = mask_of("hash", "secret")
    assert hashed("@a:s") == hashed("@a:s") != hashed("@b:s")
    assert hashed("@a:s") != mask_of("hash", "other")("@a:s")
    assert mask_of("no", "secret")("@a:s") is None
    assert mask_of("yes", "secret")("@a:s") == "@a:s"


def test_an_id_can_be_read_out() -> None:
    assert short_id(lambda size: b"\xff" * size) == "77777777"
    assert short_id(lambda size: b"\0" * size) == "aaaaaaaa"


def test_ids_of_one_draw_are_those_of_its_bytes_one_after_the_other() -> None:
    drawn: list[bytes] = []

    def random(size: int) -> bytes:
        drawn.append(bytes((7 * len(drawn) + number) % 256 for number in range(size)))
        return drawn[-1]

    ids = list(islice(short_ids(random), 2 * IDS_AT_ONCE))
    assert len(drawn) == 2
    pieces = [piece[start : start + 5] for piece in drawn for start in range(0, len(piece), 5)]
    assert ids == [short_id(lambda _size, piece=piece: piece) for piece in pieces]  # type: ignore[misc]


def test_an_id_is_told_from_what_is_none() -> None:
    assert is_id(short_id(bytes))
    for text in ("", "k3v9t2x", "k3v9t2xqq", "K3V9T2XQ", "k3v9t2x ", "k3v9t2x\u00e9", "a' OR 1="):
        assert not is_id(text), text
