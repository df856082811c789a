"""Each rule is asked on its own: no other's outage, slowness or bug skips or delays its verdict."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.model import Identity, RoomId, Source, UserId
from lotus_guard.core.power import read_power
from lotus_guard.core.seats import Occupancy
from lotus_guard.core.sentence import Sentence
from lotus_guard.enforce.everywhere import Everywhere
from lotus_guard.enforce.finding import Finding
from lotus_guard.enforce.judge import Judge
from lotus_guard.enforce.memberships import Memberships
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.enforce.seating import Question
from lotus_guard.rules.members import Members
from lotus_guard.rules.rule import (
    Allow,
    Fact,
    Facts,
    Forbid,
    Reading,
    Refuse,
    Rule,
    StandingRule,
    Verdict,
    Who,
)
from tests.enforce.member_source import ALICE, INSIDE, OUTSIDE, MemberSource
from tests.enforce.stand_ins import (
    AWAY,
    MAX_AGE,
    ROOM,
    Given,
    Homeserver,
    Journal,
    Records,
    Says,
    known,
    policies_of,
    result,
    unhandled,
)
from tests.saying import said

DEADLINE = 1.0
NO_CAMERA = Forbid(frozenset({Source.CAMERA}))
NO = Refuse(Sentence("Not you."), "not them")
SEATS = (Fact.ATTENDANCE,)
ONE_THERE = Occupancy(1, 1, False)


@define(eq=False)
class Desk:
    """Says who is there, as the test wants it."""

    occupancy: Occupancy = ONE_THERE
    at: float = 7.0
    is_at_hand: bool = False
    """Whether nobody has to wait for it."""
    trouble: Any = None
    """A failure, or a Deferred to wait for."""
    calls: list[str] = field(factory=list)
    since: float | None = None
    """When the policy was first known, as the last question said."""

    def look_ahead(self, room: RoomId) -> None:
        self.calls.append("look_ahead")

    def foresee(self, recipient: Recipient, question: Question) -> None:
        self.calls.append("foresee")
        question.judge(self.occupancy)

    def at_once(self, recipient: Recipient, question: Question) -> tuple[Verdict, float] | None:
        self.calls.append("at_once")
        if not self.is_at_hand:
            return None
        self.since = question.since
        return question.judge(self.occupancy), self.at

    async def judged(self, recipient: Recipient, question: Question) -> tuple[Verdict, float]:
        self.calls.append("judged")
        if isinstance(self.trouble, Deferred):
            await self.trouble
        elif self.trouble:
            raise self.trouble
        self.since = question.since
        return question.judge(self.occupancy), self.at


@define(eq=False)
class Court:
    """A judge of some rules, and all that it asks."""

    rules: Iterable[Rule[Any]]
    observed: frozenset[str] = frozenset()
    clock: Clock = field(factory=Clock)
    homeserver: Homeserver = field(factory=Homeserver)
    journal: Journal = field(factory=Journal)
    records: Records = field(factory=Records)
    desk: Any = field(factory=Desk)
    keeps_seat: bool = field(default=False, init=False)
    standing: Sequence[StandingRule] = ()
    users: MemberSource = field(factory=MemberSource)
    suggested: list[Any] = field(factory=list)
    judge: Judge = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(100.0)
        policies = policies_of(self.rules, self.homeserver, self.clock, self.journal)
        now = self.clock.seconds
        memberships = Memberships(self.users, self.users, lambda: False, now)
        everywhere = Everywhere(self.standing, memberships, policies.powers, self.suggest)
        self.judge = Judge(
            policies, everywhere, self.desk, self.records, self.clock, now, self.observed
        )

    def suggest(self, room: RoomId, user: UserId) -> None:
        self.suggested.append((room, user))

    def knows(self, age: float = 0.0, **given: Given) -> None:
        known(self.judge.policies, given, self.clock.seconds() - age)

    def ask(self, user: UserId | None = None) -> Deferred[Any]:
        """Ask for the findings; whether a seat is to be kept is then in `keeps_seat`."""
        now = self.clock.seconds()
        recipient = Recipient(ROOM, "@a:s", Identity("@a:s:D"), now, now + DEADLINE, user)
        return ensureDeferred(self._ask(recipient))

    async def _ask(self, recipient: Recipient) -> Any:
        found = await self.judge.findings(recipient)
        self.keeps_seat = found.keeps_seat
        return found.each


def verdicts(found: list[Finding]) -> dict[str, Verdict]:
    return {each.rule.name: each.verdict for each in found}


def test_what_is_at_hand_is_found_at_once_in_the_order_of_the_rules() -> None:
    court = Court([Says("one", NO_CAMERA), Says("two", Allow())])
    court.knows(one=Given(), two=Given())
    found = result(court.ask())
    assert [(each.rule.name, each.verdict) for each in found] == [
        ("one", NO_CAMERA),
        ("two", Allow()),
    ]
    assert court.homeserver.asked == []
    assert court.clock.getDelayedCalls() == []
    assert [(each.wanted, each.is_observed) for each in found] == [(None, False)] * 2


def test_a_rule_is_told_of_whom_it_judges_and_nothing_that_it_does_not_need() -> None:
    rule = Says("one", Allow())
    court = Court([rule])
    court.knows(one=Given())
    result(court.ask())
    ((who, facts),) = rule.asked
    assert (who.person, who.identity, who.user) == ("@a:s", "@a:s:D", None)
    assert facts == Facts()
    assert court.desk.calls == []


def test_who_is_there_is_found_at_once_where_a_look_is_at_hand() -> None:
    rule = Says("seats", Allow(), SEATS)
    court = Court([rule], desk=Desk(is_at_hand=True))
    court.knows(seats=Given(seats=2))
    (found,) = result(court.ask())
    assert (found.wanted.seats, found.wanted.at, court.desk.calls) == (2, 7.0, ["at_once"])
    assert not court.keeps_seat


def test_a_bug_in_a_rule_that_counts_seats_keeps_one_for_whom_it_lets_in(logged: list[Any]) -> None:
    court = Court([Says("seats", ValueError("bug"), SEATS)], desk=Desk(is_at_hand=True))
    court.knows(seats=Given(seats=2))
    assert result(court.ask()) == []
    assert court.records.opened == [("seats", "bug")]
    assert court.keeps_seat


def test_look_ups_run_side_by_side() -> None:
    court = Court([Says("one", Allow()), Says("two", Allow())])
    slow = {name: Deferred[Any]() for name in ("one", "two")}
    court.homeserver.answers = dict(slow)
    asked = court.ask()
    assert court.homeserver.asked == ["one", "two"]
    slow["two"].callback(Reading(Given()))
    slow["one"].callback(Reading(Given()))
    assert list(verdicts(result(asked))) == ["one", "two"]
    assert court.clock.getDelayedCalls() == []


def test_an_outage_opens_the_rule_that_it_is_about_and_no_other() -> None:
    court = Court([Says("one", NO), Says("two", NO_CAMERA)])
    court.homeserver.answers = {"one": AWAY, "two": Given()}
    assert verdicts(result(court.ask())) == {"two": NO_CAMERA}
    assert court.records.opened == [("one", "reset")]
    assert not court.keeps_seat, "no rule counts seats"


@pytest.mark.parametrize("is_at_hand", [True, False])
def test_a_bug_in_a_rule_opens_that_rule_and_no_other(is_at_hand: bool) -> None:
    court = Court([Says("one", NO_CAMERA), Says("two", ValueError("a bug")), Says("three", NO)])
    if is_at_hand:
        court.knows(one=Given(), two=Given(), three=Given())
    else:
        court.homeserver.answers = {name: Given() for name in ("one", "two", "three")}
    assert verdicts(result(court.ask())) == {"one": NO_CAMERA, "three": NO}
    assert court.records.opened == [("two", "bug")]


def test_a_rule_that_hangs_is_given_up_at_its_deadline_and_the_others_are_judged() -> None:
    court = Court([Says("one", NO_CAMERA), Says("two", NO_CAMERA)])
    court.homeserver.answers = {"one": Deferred(), "two": Given()}
    asked = court.ask()
    court.clock.advance(DEADLINE)
    court.clock.advance(0.0)
    assert verdicts(result(asked)) == {"two": NO_CAMERA}
    assert court.records.opened == [("one", "timeout")]


def test_the_first_refusal_ends_it_and_what_else_runs_is_cancelled(logged: list[Any]) -> None:
    hanging: Deferred[Any] = Deferred()
    court = Court([Says("one", NO), Says("two", NO_CAMERA), Says("three", NO)], desk=Desk())
    court.knows(one=Given(), three=Given())
    court.homeserver.answers = {"two": hanging}
    assert verdicts(result(court.ask())) == {"one": NO}
    assert court.records.opened == [], "what was given up has not failed"
    assert court.clock.getDelayedCalls() == [], "nobody waits for the other look-up any more"
    assert unhandled(logged) == []


def test_an_observed_refusal_does_not_end_it() -> None:
    court = Court([Says("one", NO), Says("two", NO_CAMERA)], frozenset({"one"}))
    court.knows(one=Given(), two=Given())
    found = result(court.ask())
    assert verdicts(found) == {"one": NO, "two": NO_CAMERA}
    assert [each.is_observed for each in found] == [True, False]


def test_a_client_who_goes_away_ends_it_and_nothing_has_failed() -> None:
    court = Court([Says("one", Allow()), Says("two", Allow(), SEATS)])
    court.homeserver.answers = {"one": Deferred(), "two": Deferred()}
    asked = court.ask()
    asked.cancel()
    assert result(asked).check(CancelledError)
    assert court.records.opened == []
    assert court.desk.calls == [], "no seat is held for who has gone"
    assert court.clock.getDelayedCalls() == []


def test_a_policy_that_is_known_from_before_serves_during_an_outage() -> None:
    court = Court([Says("one", NO_CAMERA)])
    court.knows(MAX_AGE + 1.0, one=Given())
    assert verdicts(result(court.ask())) == {"one": NO_CAMERA}
    assert court.journal.stale == ["one"]
    assert court.records.opened == []


def test_what_was_known_serves_where_a_rule_cannot_read_its_event(logged: list[Any]) -> None:
    court = Court([Says("one", NO_CAMERA), Says("two", NO_CAMERA)])
    court.knows(MAX_AGE + 1.0, one=Given())
    court.homeserver.answers = {"one": KeyError("a bug"), "two": KeyError("a bug")}
    assert verdicts(result(court.ask())) == {"one": NO_CAMERA}
    assert court.records.opened == [("two", "bug")], "nothing was known of it"
    told = [each["event"] for each in logged if "Could not read" in each["log_format"]]
    assert told == ["io.lotus.one", "io.lotus.two"]


def test_of_a_policy_that_restricts_half_the_time_is_left_for_what_else_it_needs() -> None:
    court = Court([Says("seats", Allow(), SEATS)])
    court.knows(MAX_AGE + 1.0, seats=Given(seats=3))
    court.homeserver.answers = {"seats": Deferred()}
    asked = court.ask()
    assert court.desk.calls == ["foresee"], "the look does not wait for the policy"
    court.clock.advance(DEADLINE / 2)
    court.clock.advance(0.0)
    assert court.desk.calls == ["foresee", "judged"]
    assert [each.wanted.seats for each in result(asked)] == [3]


def test_a_look_is_wanted_from_after_the_policy_was_first_known() -> None:
    court = Court([Says("seats", Allow(), SEATS)])
    court.knows(seats=Given(seats=3))
    court.clock.advance(1.0)
    court.knows(seats=Given(seats=3))
    assert result(court.ask())
    assert court.desk.since == court.clock.seconds() - 1.0


def test_of_a_policy_that_restricted_nothing_the_whole_time_is_waited_for() -> None:
    court = Court([Says("seats", Allow(), SEATS)])
    court.knows(MAX_AGE + 1.0, seats=Given(False))
    court.homeserver.answers = {"seats": Deferred()}
    asked = court.ask()
    court.clock.advance(DEADLINE * 0.99)
    court.clock.advance(0.0)
    assert not asked.called
    court.clock.advance(DEADLINE * 0.02)
    court.clock.advance(0.0)
    assert asked.called
    assert court.keeps_seat, "there may be a limit by now: it must not put them out"


def test_who_is_there_is_found_out_only_where_a_rule_that_needs_it_restricts() -> None:
    rule = Says("seats", Allow(), SEATS)
    court = Court([rule])
    court.knows(seats=Given(False))
    assert (result(court.ask()), court.desk.calls, rule.asked) == ([], [], [])
    assert not court.keeps_seat
    court.knows(-1.0, seats=Given(seats=2))
    (found,) = result(court.ask())
    assert (found.wanted.seats, found.wanted.at, court.desk.calls) == (
        2,
        7.0,
        ["at_once", "judged"],
    )
    assert rule.asked[-1][1] == Facts(ONE_THERE)


@pytest.mark.parametrize(
    ("trouble", "reason"), [(Outage(Reason.TIMEOUT, "late"), "timeout"), (KeyError("bug"), "bug")]
)
def test_where_nobody_says_who_is_there_they_come_in_and_keep_a_seat(
    trouble: Exception, reason: str
) -> None:
    court = Court([Says("seats", NO, SEATS), Says("two", NO_CAMERA)], desk=Desk(trouble=trouble))
    court.knows(seats=Given(seats=2), two=Given())
    assert verdicts(result(court.ask())) == {"two": NO_CAMERA}
    assert court.records.opened == [("seats", reason)]
    assert court.keeps_seat


MODERATED = read_power({"users": {"@mod:s": 50}}, None)


class Bypassed(Says):
    """A rule that exempts moderators, and says so where it is told who they are."""

    def needs_power(self, policy: Given) -> bool:
        return True

    def judge(self, policy: Given, who: Who, facts: Facts) -> Verdict:
        is_moderator = facts.power is not None and who.user and facts.power.of(who.user) >= 50
        return Allow(is_exempt=True) if is_moderator else super().judge(policy, who, facts)


@pytest.mark.parametrize(
    ("user", "powers", "verdict"),
    [
        ("@mod:s", MODERATED, Allow(is_exempt=True)),
        ("@a:s", MODERATED, NO_CAMERA),
        (None, MODERATED, NO_CAMERA),
        ("@mod:s", AWAY, NO_CAMERA),
    ],
)
@pytest.mark.parametrize("is_at_hand", [False, True])
def test_who_is_exempt_is_told_by_the_power_levels_and_nobody_is_where_they_are_unknown(
    user: Any, powers: Any, verdict: Verdict, is_at_hand: bool
) -> None:
    court = Court([Bypassed("one", NO_CAMERA)])
    court.homeserver.answers, court.homeserver.powers = {"one": Given()}, powers
    if is_at_hand:
        court.knows(one=Given())
    assert verdicts(result(court.ask(user))) == {"one": verdict}
    assert court.records.opened == [], "nothing is let through for want of them"


def test_who_is_exempt_takes_a_seat_beyond_the_limit() -> None:
    court = Court([Bypassed("seats", NO, SEATS)])
    court.homeserver.powers = MODERATED
    court.knows(seats=Given(seats=2))
    (found,) = result(court.ask(UserId("@mod:s")))
    assert (found.verdict, found.wanted.seats) == (Allow(is_exempt=True), None)
    (found,) = result(court.ask(UserId("@a:s")))
    assert found.wanted.seats == 2


def test_power_levels_that_hang_are_waited_for_half_the_time() -> None:
    court = Court([Bypassed("one", NO_CAMERA)])
    court.knows(one=Given())
    court.homeserver.powers = Deferred()
    asked = court.ask(UserId("@mod:s"))
    court.clock.advance(DEADLINE / 2)
    court.clock.advance(0.0)
    assert verdicts(result(asked)) == {"one": NO_CAMERA}


def test_power_levels_are_looked_up_ahead_where_a_policy_is_known_to_need_them() -> None:
    court = Court([Bypassed("one", NO_CAMERA)])
    court.homeserver.powers = MODERATED
    court.homeserver.answers = {"one": Given()}
    court.judge.ahead(ROOM)
    assert court.homeserver.asked == ["one", "power"]
    court = Court([Says("one", NO_CAMERA)])
    court.homeserver.answers = {"one": Given()}
    court.judge.ahead(ROOM)
    assert court.homeserver.asked == ["one"]


def test_look_ups_begin_ahead_and_a_look_only_where_seats_are_counted() -> None:
    court = Court([Says("seats", Allow(), SEATS), Says("two", Allow())])
    court.homeserver.answers = {"seats": Given(False), "two": Given()}
    court.judge.ahead(ROOM)
    assert (court.homeserver.asked, court.desk.calls) == (["seats", "two"], [])
    court.knows(-1.0, seats=Given(seats=2))
    court.judge.ahead(ROOM)
    assert court.desk.calls == ["look_ahead"]


def members(**more: Any) -> Court:
    """A court with the rule of members, and a rule after it that allows."""
    rest: dict[str, Any] = {"rules": [Says("one", Allow())], **more}
    court = Court(standing=[Members()], **rest)
    court.knows(one=Given())
    return court


def test_who_is_outside_is_refused_before_any_other_rule_is_heard() -> None:
    court = members(rules=[Says("one", NO)])
    court.users.answers = [OUTSIDE, OUTSIDE]
    (found,) = result(court.ask(ALICE))
    assert (found.rule.name, said(found.verdict.sentence)) == (
        "members",
        "You are not a member of this room.",
    )
    assert found.policy is None


def test_who_is_in_the_room_passes_to_the_other_rules() -> None:
    court = members()
    court.users.answers = [INSIDE]
    assert list(verdicts(result(court.ask(ALICE))).values()) == [Allow(), Allow()]


def test_who_was_seen_in_the_room_a_moment_ago_is_judged_at_once() -> None:
    court = members()
    court.users.answers = [INSIDE, Deferred()]
    assert list(verdicts(result(court.ask(ALICE))).values()) == [Allow(), Allow()]
    assert list(verdicts(result(court.ask(ALICE))).values()) == [Allow(), Allow()]


def test_of_whom_the_request_proves_nothing_nothing_is_asked() -> None:
    court = members()
    assert list(verdicts(result(court.ask()))) == ["one"]
    assert court.users.asked == []


def test_where_nobody_says_who_is_a_member_that_rule_opens_and_no_other() -> None:
    court = members(rules=[Says("one", NO)])
    court.users.answers = [AWAY]
    assert list(verdicts(result(court.ask(ALICE)))) == ["one"]
    assert court.records.opened == [("members", "reset")]


def test_a_look_up_of_a_member_that_hangs_is_given_up_at_the_deadline() -> None:
    court = members()
    court.users.answers = [Deferred()]
    asking = court.ask(ALICE)
    court.clock.advance(DEADLINE)
    court.clock.advance(0)
    court.clock.advance(0)
    assert list(verdicts(result(asking))) == ["one"]
    assert court.records.opened == [("members", "timeout")]


def test_where_it_is_observed_who_is_outside_is_judged_by_the_other_rules() -> None:
    court = members(observed=frozenset({"members"}))
    court.users.answers = [OUTSIDE, OUTSIDE]
    found = result(court.ask(ALICE))
    assert [(each.rule.name, each.is_observed) for each in found] == [
        ("members", True),
        ("one", False),
    ]


def test_a_member_is_looked_up_while_upstream_works_by_their_own_word() -> None:
    court = members()
    court.users.answers = [INSIDE]
    court.judge.ahead(ROOM, ALICE)
    assert court.users.asked == [(ROOM, ALICE)]
    result(court.ask(ALICE))
    assert len(court.users.asked) == 1
    assert court.judge.names == ["members", "one"]


def test_whose_token_it_is_may_be_a_reader_of_the_room_before_the_rules_ask() -> None:
    court = Court([Says("one", Allow())])
    court.homeserver.answers = {"one": Deferred()}
    court.ask(ALICE)
    assert court.suggested == [(ROOM, ALICE)]
    court = Court([Says("one", Allow())])
    court.ask()
    assert court.suggested == []


class Unasked(Bypassed):
    """A rule that holds in live calls alone."""

    judges_tokens = False


def test_a_rule_that_judges_no_tokens_is_not_asked_and_nothing_is_looked_up_for_it() -> None:
    live = Unasked("live", NO)
    court = Court([live, Says("two", NO_CAMERA)])
    court.homeserver.answers = {"two": Given()}
    assert list(court.judge.names) == ["two"]
    court.judge.ahead(ROOM)
    (found,) = result(court.ask(ALICE))
    assert found.verdict == NO_CAMERA
    assert (live.asked, court.homeserver.asked) == ([], ["two"])
    court.knows(live=Given(), two=Given())
    court.judge.ahead(ROOM)
    (found,) = result(court.ask(ALICE))
    assert (live.asked, court.homeserver.asked) == ([], ["two"]), "nor the power levels"
    assert court.records.opened == []
