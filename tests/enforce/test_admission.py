"""One token answer from start to end: who is refused, who sits, and what goes out unguarded."""

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.directory import Directory
from lotus_guard.core.ids import MOST_NAME
from lotus_guard.core.model import Identity, RoomId, Source, UserId
from lotus_guard.core.naming import ROOM_SLOT, identity_of, livekit_room_of
from lotus_guard.core.seats import Person, Seating
from lotus_guard.core.sentence import Sentence
from lotus_guard.core.token import KeyPair, Unfit, mint
from lotus_guard.core.wire import Endpoint, TokenRequest
from lotus_guard.enforce.admission import Admission, Issued, Refusal
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.finding import Finding, Findings, WantedSeat
from lotus_guard.enforce.introduction import MOST_SLOTS, Introductions
from lotus_guard.enforce.issuing import Issuing, Pass
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.recipient import Asked, Recipient
from lotus_guard.rules import RULES
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.rule import Allow, Forbid, Refuse
from tests.enforce.stand_ins import (
    ROOM,
    Given,
    Homeserver,
    Records,
    Says,
    policies_of,
    result,
)

PAIR = KeyPair("key", "a-secret-of-32-characters-or-more")
OTHER_PAIR = KeyPair("key", "another-secret-of-32-characters-or-more")
ALICE = UserId("@alice:s")
CALL = livekit_room_of(ROOM, ROOM_SLOT)
IDENTITY = identity_of(ALICE, "D", "m")
EPOCH = 1_790_000_000
SECONDS = 2.0
NO = Refuse(Sentence("Not you."), "not them")


@define(eq=False)
class Judge:
    """Finds what the test wants."""

    policies: Any
    found: Any = ()
    """The findings, a failure, or a Deferred."""
    keeps_seat: bool = False
    observed: frozenset[str] = frozenset()
    recipients: list[Recipient] = field(factory=list)
    looked_ahead: list[tuple[RoomId, UserId | None]] = field(factory=list)

    @property
    def names(self) -> list[str]:
        return [each.rule.name for each in self.policies]

    def ahead(self, room: RoomId, user: UserId | None = None) -> None:
        self.looked_ahead.append((room, user))

    async def findings(self, recipient: Recipient) -> Any:
        self.recipients.append(recipient)
        if isinstance(self.found, Deferred):
            return await self.found
        if isinstance(self.found, Exception):
            raise self.found
        return Findings(self.found, self.keeps_seat)


@define(eq=False)
class Desk:
    """Gives seats while there are any."""

    clock: Clock
    free: int = 99
    users: int = 5
    """How many sit where none is free."""
    calls: list[str] = field(factory=list)

    def now(self) -> float:
        return self.clock.seconds()

    async def claim(self, recipient: Recipient, limit: int, at: float) -> Seating:
        self.calls.append(f"claim {limit} at {at:g}")
        self.free -= 1
        return Seating(self.free >= 0, self.users)

    async def keep(self, recipient: Recipient) -> None:
        self.calls.append("keep")

    def keep_soon(self, recipient: Recipient) -> None:
        self.calls.append("keep soon")

    def taken(self, room: RoomId) -> list[Person]:
        return ["@bob:s"]


@define(eq=False)
class Gate:
    """An admission, and all that it asks."""

    clock: Clock = field(factory=Clock)
    directory: Directory = field(factory=Directory)
    records: Records = field(factory=Records)
    keys: Credential[KeyPair] = field(factory=lambda: Credential("LIVEKIT", PAIR))
    rooms: list[RoomId] = field(factory=list)
    """For which a token went out."""
    judge: Any = field(init=False)
    desk: Any = field(init=False)
    admission: Admission = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1000.0)
        self.judge = Judge(policies_of(RULES, Homeserver(), self.clock))
        self.desk = Desk(self.clock)
        self.admission = Admission(
            self.keys,
            Introductions(self.directory, self.clock.seconds),
            self.judge,
            self.desk,
            Issuing(300, self.records, lambda: EPOCH),
            self.records,
            SECONDS,
            Issued(self.rooms.append),
        )

    def begin(
        self,
        token: str | None = None,
        slot: str = ROOM_SLOT,
        is_asked: bool = True,
        shed_reason: Outage | None = None,
    ) -> Deferred[Any]:
        """Have a token of alice's judged."""
        request = TokenRequest(Endpoint.GET_TOKEN, ROOM, slot, ALICE, "D", "m")
        made = token or token_of(livekit_room_of(ROOM, slot))
        asked = Asked(request, True) if is_asked else None
        return ensureDeferred(self.admission.judge(made, asked, 999.0, shed_reason))

    def ask(self, **more: Any) -> Any:
        return result(self.begin(**more))

    def refusals(self) -> list[tuple[str, bool]]:
        return [(ruling.rule, observed) for ruling, observed in self.records.decisions]


def token_of(livekit_room: str = CALL, pair: KeyPair = PAIR, identity: str = IDENTITY) -> str:
    video = {"room": livekit_room, "canPublish": True}
    return mint(pair, sub=identity, nbf=EPOCH, exp=EPOCH + 3600, video=video)


def seat(most: int = 5, is_observed: bool = False) -> Finding:
    return Finding(Limit(), LimitPolicy(most), Allow(), is_observed, WantedSeat(most, 7.0))


def says(name: str, verdict: Any, is_observed: bool = False, seats: int | None = None) -> Finding:
    wanted = None if seats is None else WantedSeat(seats, 0.0)
    return Finding(Says(name, verdict), Given(), verdict, is_observed, wanted)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_rules_are_told_who_and_which_room_and_have_their_time_from_now(gate: Gate) -> None:
    assert gate.ask() == Pass()
    (recipient,) = gate.judge.recipients
    assert recipient == Recipient(ROOM, ALICE, IDENTITY, 999.0, 1000.0 + SECONDS, ALICE)
    assert gate.rooms == [ROOM]
    assert gate.admission.issued.begins.get(IDENTITY) == EPOCH


def test_a_refusal_takes_no_seat_and_teaches_nothing_of_an_identity(gate: Gate) -> None:
    gate.directory.learn_identity(IDENTITY, UserId("@bob:s"), CALL)
    gate.judge.found = [seat(), says("one", NO)]
    assert gate.ask() == Refusal(NO, "decision1")
    assert gate.desk.calls == []
    assert gate.directory.user_of(IDENTITY) == "@bob:s"
    assert gate.admission.issued.begins.get(IDENTITY) is None, "no token went out"


def test_a_refusal_names_who_sits_where_seats_are_counted(gate: Gate) -> None:
    gate.judge.found = [says("one", NO, is_observed=True), says("two", NO, seats=5)]
    gate.ask()
    assert [ruling.people for ruling, _ in gate.records.decisions] == [(), ("@bob:s",)]


def test_an_observed_refusal_is_on_record_and_they_come_in(gate: Gate) -> None:
    camera = Forbid(frozenset({Source.CAMERA}))
    gate.judge.found = [says("one", NO, True), says("two", NO, True, 5), says("three", camera)]
    assert gate.ask().token is not None
    assert gate.refusals() == [("one", True), ("two", True), ("three", False)]
    assert gate.desk.calls == ["keep"], "for the one that counts seats"


def test_who_comes_in_though_nobody_could_count_keeps_a_seat_and_who_is_refused_does_not(
    gate: Gate,
) -> None:
    gate.judge.keeps_seat = True
    gate.judge.found = [says("one", Allow())]
    assert gate.ask() == Pass()
    assert gate.desk.calls == ["keep"]
    gate.desk.calls.clear()
    gate.judge.found = [says("one", NO)]
    assert gate.ask() == Refusal(NO, "decision1")
    gate.judge.found = [says("seats", NO, is_observed=True, seats=5), says("one", NO)]
    assert gate.ask() == Refusal(NO, "decision3")
    assert gate.desk.calls == [], "they would take it from others"


def test_a_seat_is_taken_by_the_look_behind_the_verdict(gate: Gate) -> None:
    gate.judge.found = [seat(5)]
    gate.ask()
    assert gate.desk.calls == ["claim 5 at 7"]


def test_where_others_were_quicker_the_rule_refuses_as_it_would_have(gate: Gate) -> None:
    gate.judge.found = [seat(2)]
    gate.desk.free, gate.desk.users = 0, 2
    refusal = gate.ask()
    assert refusal.refuse.fields == {"io.lotus.limit": {"max_users": 2, "users": 2}}
    assert gate.refusals() == [("limit", False)]


def test_where_others_were_quicker_an_observed_rule_lets_them_in_all_the_same(gate: Gate) -> None:
    gate.judge.found = [seat(2, is_observed=True)]
    gate.desk.free, gate.desk.users = 0, 2
    assert gate.ask() == Pass()
    assert gate.refusals() == [("limit", True)], "and takes nothing from their token"
    assert gate.desk.calls == ["claim 2 at 7", "keep"]


def test_an_identity_that_was_anothers_is_theirs_once_they_have_the_token(gate: Gate) -> None:
    gate.directory.learn_identity(IDENTITY, UserId("@bob:s"), CALL)
    gate.ask()
    assert gate.directory.user_of(IDENTITY) not in ("@bob:s", ALICE), "it is nobody's alone"


def every_rule(reason: str) -> list[tuple[str, str]]:
    return [(rule.name, reason) for rule in RULES]


def test_a_token_for_a_room_that_nobody_knows_goes_out_unguarded(gate: Gate) -> None:
    assert gate.ask(is_asked=False, token=token_of("random-1")) == Pass()
    assert gate.records.opened == every_rule("unknown_room")
    assert gate.judge.recipients == []
    assert gate.rooms == []


def test_a_token_that_is_not_ours_goes_out_untouched(gate: Gate) -> None:
    assert gate.ask(token=token_of(pair=OTHER_PAIR)) == Pass()
    assert gate.records.opened == every_rule("secret")


def test_a_secret_that_has_been_changed_is_read_again_before_a_token_is_none_of_ours() -> None:
    gate = Gate(keys=Credential("LIVEKIT", PAIR, read=lambda: OTHER_PAIR, now=lambda: 1e9))
    gate.keys.files = (__file__,)
    assert gate.ask(token=token_of(pair=OTHER_PAIR)) == Pass()
    assert gate.records.opened == []
    assert len(gate.judge.recipients) == 1


def test_a_token_that_no_guard_could_read_is_no_answer(gate: Gate) -> None:
    failure = result(gate.begin(token_of("x" * (MOST_NAME + 1))))
    assert failure.check(Unfit)


def test_under_too_much_load_a_token_goes_out_unjudged_and_keeps_its_seat(gate: Gate) -> None:
    shed = Outage(Reason.OVERLOAD, "too many")
    assert gate.ask(shed_reason=shed) == Pass()
    assert gate.records.opened == every_rule("overload")
    assert gate.desk.calls == ["keep soon"]
    assert gate.judge.recipients == []
    assert gate.rooms == [ROOM], "the live loop sees to them"
    assert gate.directory.user_of(IDENTITY) == ALICE, "and what it says is learnt"


@pytest.mark.parametrize("is_observed", [False, True])
def test_one_slot_too_many_is_the_limits_to_refuse(gate: Gate, is_observed: bool) -> None:
    gate.judge.observed = frozenset({"limit"} if is_observed else ())
    for number in range(MOST_SLOTS - 1):
        gate.ask(slot=f"slot{number}")
    found = gate.ask(slot="one too many")
    assert isinstance(found, Pass if is_observed else Refusal)
    assert gate.refusals() == [("limit", is_observed)]


def test_a_bug_of_ours_opens_and_is_counted_for_every_rule(gate: Gate) -> None:
    gate.judge.found = ZeroDivisionError()
    assert gate.ask() == Pass()
    assert gate.records.opened == every_rule("bug")


def test_a_client_who_goes_away_is_no_bug(gate: Gate) -> None:
    gate.judge.found = Deferred()
    judging = gate.begin()
    judging.cancel()
    assert result(judging).check(CancelledError)
    assert gate.records.opened == []


def test_look_ups_begin_ahead_for_a_request_that_names_a_room(gate: Gate) -> None:
    named = TokenRequest(Endpoint.GET_TOKEN, ROOM, ROOM_SLOT, ALICE, "D", "m")
    gate.admission.ahead(named)
    gate.admission.ahead(TokenRequest(Endpoint.GET_TOKEN, None, ROOM_SLOT, ALICE, "D", "m"))
    assert gate.judge.looked_ahead == [(ROOM, ALICE)]


def test_a_guard_without_a_live_loop_tells_nobody() -> None:
    issued = Issued()
    issued.on_issued(ROOM)
    assert issued.begins.get(Identity("x")) is None
