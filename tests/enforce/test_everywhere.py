"""Rules that hold in every room get the facts that they need."""

from typing import Any

from attrs import evolve
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.model import Identity
from lotus_guard.core.power import read_power
from lotus_guard.enforce.everywhere import Everywhere
from lotus_guard.enforce.memberships import Memberships
from lotus_guard.enforce.powers import Powers
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.enforce.remembered import Freshness, Kept
from lotus_guard.rules.members import Members
from lotus_guard.rules.permission import CALL_MEMBER, CallPermission
from lotus_guard.rules.rule import Allow, Refuse
from tests.enforce.member_source import ALICE, INSIDE, OUTSIDE, MemberSource
from tests.enforce.stand_ins import ROOM, result

RULE = Members()
RECIPIENT = Recipient(ROOM, ALICE, Identity("x"), 0.0, 1.0, ALICE)


def made(*answers: Any, rules: Any = (RULE,)) -> tuple[Everywhere, MemberSource]:
    source = MemberSource(list(answers))
    now = Clock().seconds
    powers = Powers(source, source, Freshness(lambda: 2.0, 600.0), now)
    return Everywhere(rules, Memberships(source, source, lambda: False, now), powers), source


def test_a_rule_is_told_how_the_recipient_stands_to_the_room() -> None:
    everywhere, source = made(INSIDE)
    assert result(ensureDeferred(everywhere.judged(RULE, RECIPIENT))) == Allow()
    assert source.asked == [(ROOM, ALICE)]
    everywhere, _ = made(OUTSIDE)
    assert isinstance(result(ensureDeferred(everywhere.judged(RULE, RECIPIENT))), Refuse)


def test_of_somebody_who_is_not_proved_nothing_is_asked() -> None:
    everywhere, source = made(OUTSIDE)
    stranger = evolve(RECIPIENT, user=None)
    assert result(ensureDeferred(everywhere.judged(RULE, stranger))) == Allow()
    assert source.asked == []


def test_a_verdict_is_there_at_once_where_its_facts_are() -> None:
    everywhere, source = made(INSIDE)
    assert everywhere.at_once(RULE, RECIPIENT) is None
    assert everywhere.at_once(RULE, evolve(RECIPIENT, user=None)) == Allow()
    assert source.asked == []
    result(ensureDeferred(everywhere.judged(RULE, RECIPIENT)))
    assert everywhere.at_once(RULE, RECIPIENT) == Allow()
    permission = CallPermission()
    assert everywhere.at_once(permission, RECIPIENT) is None
    none = read_power({"events": dict.fromkeys(CALL_MEMBER, 100)}, None)
    everywhere.powers.keep(ROOM, Kept(none, 0.0))
    assert isinstance(everywhere.at_once(permission, RECIPIENT), Refuse)


def test_a_rule_about_power_is_told_the_rooms_levels() -> None:
    everywhere, _ = made(rules=(CallPermission(),))
    none = read_power({"events": dict.fromkeys(CALL_MEMBER, 100)}, None)
    everywhere.powers.keep(ROOM, Kept(none, 0.0))
    assert isinstance(
        result(ensureDeferred(everywhere.judged(CallPermission(), RECIPIENT))), Refuse
    )
    everywhere.powers.keep(ROOM, Kept(read_power({"state_default": 0}, None), 0.0))
    assert result(ensureDeferred(everywhere.judged(CallPermission(), RECIPIENT))) == Allow()


def test_nothing_is_asked_ahead_where_no_rule_needs_it() -> None:
    everywhere, source = made(INSIDE, rules=())
    everywhere.ahead(ROOM, ALICE)
    assert source.asked == []
    everywhere, source = made(INSIDE)
    everywhere.ahead(ROOM, ALICE)
    assert source.asked == [(ROOM, ALICE)]


def test_who_asks_is_suggested_as_somebody_who_may_look() -> None:
    said: list[Any] = []
    everywhere = evolve(made()[0], rules=(), suggest=lambda *who: said.append(who))
    everywhere.ahead(ROOM, ALICE)
    assert said == [(ROOM, ALICE)]
