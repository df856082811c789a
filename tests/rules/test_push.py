"""Pushes: signed, in time, in the new form and the old, and only of rules that they tell of."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.membership import MEMBER, Membership
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import POWER_LEVELS
from lotus_guard.rules import RULES
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.media import Media, SourcePolicy
from lotus_guard.rules.push import (
    MOST_MEMBERS,
    MOST_PUSH,
    WINDOW,
    Member,
    Push,
    Unsigned,
    Untimely,
    _digest,
    length_of,
    read_push,
    sign_push,
    write_heartbeat,
    write_members,
    write_push,
)
from lotus_guard.rules.rule import Content
from tests.quiet_hours import QuietHours, QuietPolicy

SECRET = "a-push-secret-for-tests"
NOW = 1_790_000_000.0
ROOM = RoomId("!r:s")
LIMIT, MEDIA, QUIET = Limit(), Media(), QuietHours()
MORE = (*RULES, QUIET)
CONTENTS: Mapping[str, Content | None] = {
    LIMIT.event: {"max_users": 2},
    MEDIA.event: {"allow_camera": False},
}


def read(body: bytes | Mapping[str, Any], rules: Any = RULES, sent: float = NOW) -> Push:
    """Sign and read a push."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_push(body, sign_push(body, SECRET, sent), SECRET, NOW, rules)


def policies(push: Push) -> dict[str, Any]:
    return {name: reading.policy for name, reading in push.readings.items()}


def test_what_is_written_is_read() -> None:
    push = read(write_push(ROOM, CONTENTS, RULES))
    assert push.room == ROOM
    assert policies(push)["limit"] == LimitPolicy(2)
    assert policies(push)["sources"].restricts
    assert {reading.set_at for reading in push.readings.values()} == {NOW}


def test_without_an_event_a_rule_is_told_that_it_restricts_nothing() -> None:
    push = read(write_push(ROOM, {LIMIT.event: None, MEDIA.event: None}, RULES))
    assert policies(push) == {"limit": LimitPolicy(), "sources": SourcePolicy()}


def test_a_heartbeat_tells_of_no_room_and_no_rule() -> None:
    push = read(b"{}")
    assert (push.room, push.readings) == (None, {})


def test_a_heartbeat_says_what_its_sender_would_push() -> None:
    events = [rule.event for rule in RULES]
    assert read(write_heartbeat(events)).is_complete
    assert read(write_heartbeat([*events, "io.lotus.later"])).is_complete
    assert not read(write_heartbeat(events[1:])).is_complete
    assert not read({"covers": []}).is_complete


def test_a_push_of_a_room_is_complete_where_it_tells_each_rule_something() -> None:
    assert read(write_push(ROOM, {rule.event: None for rule in RULES}, RULES)).is_complete
    assert not read(write_push(ROOM, {RULES[0].event: None}, RULES)).is_complete


def test_a_sender_of_the_release_before_covers_the_two_events_that_it_knows() -> None:
    assert read(b"{}", rules=(LIMIT, MEDIA)).is_complete
    assert not read(b"{}", rules=(LIMIT, MEDIA, QUIET)).is_complete


def test_a_sender_of_the_release_before_is_understood() -> None:
    push = read({"room_id": ROOM, "limit": {"max_users": 3}, "sources": None})
    assert policies(push) == {"limit": LimitPolicy(3), "sources": SourcePolicy()}


def test_the_release_before_understands_what_is_written() -> None:
    """It reads each rule under its name, and knows nothing of `events`."""
    fields = json.loads(write_push(ROOM, CONTENTS, RULES))
    assert fields["limit"] == CONTENTS[LIMIT.event]
    assert fields["sources"] == CONTENTS[MEDIA.event]


def test_where_both_forms_are_there_the_new_one_counts() -> None:
    body = {"room_id": ROOM, "limit": {"max_users": 9}, "events": {LIMIT.event: {"max_users": 2}}}
    assert policies(read(body)) == {"limit": LimitPolicy(2)}


def test_a_sender_that_does_not_know_a_rule_tells_nothing_of_it() -> None:
    """What the guard knows of that rule's policy must stay: no word is not `no event`."""
    for body in (
        write_push(ROOM, CONTENTS, RULES),
        json.dumps({"room_id": ROOM, "limit": None, "sources": None}).encode(),
    ):
        assert set(read(body, MORE).readings) == {"limit", "sources"}
    told = write_push(ROOM, {**CONTENTS, QUIET.event: {"quiet": True}}, MORE)
    assert policies(read(told, MORE))["quiet"] == QuietPolicy(True)


def test_a_rule_that_the_guard_does_not_know_is_passed_over() -> None:
    told = write_push(ROOM, {**CONTENTS, QUIET.event: {"quiet": True}}, MORE)
    assert set(read(told).readings) == {"limit", "sources"}


@pytest.mark.parametrize("content", [1, "x", [], True])
def test_a_content_that_is_no_object_restricts_nothing(content: object) -> None:
    for told in ({"events": {LIMIT.event: content}}, {"limit": content}):
        assert policies(read({"room_id": ROOM, **told})) == {"limit": LimitPolicy()}


@pytest.mark.parametrize("room", [None, 1, ["!r"], {}])
def test_a_room_that_is_no_text_is_none(room: object) -> None:
    assert read({"room_id": room, "limit": None}).room is None


def test_another_body_another_secret_another_time_are_not_signed() -> None:
    body = write_push(ROOM, CONTENTS, RULES)
    header = sign_push(body, SECRET, NOW)
    stamp, _, digest = header.partition(".")
    for changed, secret, signature in (
        (body + b" ", SECRET, header),
        (body, "another-secret", header),
        (body, SECRET, f"{int(stamp) + 1}.{digest}"),
        (body, SECRET, digest),
        (body, SECRET, ""),
        (body, SECRET, f"{stamp}.\u00e9"),
    ):
        with pytest.raises(Unsigned) as caught:
            read_push(changed, signature, secret, NOW, RULES)
        assert not isinstance(caught.value, Untimely)


@given(st.floats(0.0, 2 * WINDOW), st.sampled_from([-1, 1]))
def test_a_push_counts_within_a_minute_of_when_it_was_sent(seconds: float, way: int) -> None:
    sent = NOW + way * seconds
    if seconds > WINDOW + 0.01:
        with pytest.raises(Untimely, match="from now" if way > 0 else "ago"):
            read(b"{}", sent=sent)
    elif seconds < WINDOW:
        assert abs(read(b"{}", sent=sent).sent - sent) < 0.001


def test_a_complaint_comes_along() -> None:
    push = read(write_push(ROOM, {LIMIT.event: {"max_users": "2"}}, RULES))
    assert len(push.readings["limit"].complaints) == 1


EVENTS = [rule.event for rule in RULES]


def member(user: str, membership: str = "leave", room: RoomId = ROOM) -> Member:
    return Member(room, UserId(user), Membership(membership))


def test_memberships_of_several_rooms_come_in_one_push() -> None:
    members = (member("@a:s"), member("@b:s", "join"), member("@a:s", "ban", RoomId("!o:s")))
    push = read(write_members([*EVENTS, MEMBER], members))
    assert push.members == members
    assert (push.room, push.is_complete, push.covers_members) == (None, True, True)


def test_the_release_before_takes_memberships_for_a_heartbeat() -> None:
    """It looks for `room_id`, and for what `covers` names."""
    fields = json.loads(write_members([*EVENTS, MEMBER], (member("@a:s"),)))
    assert set(fields) == {"covers", "rooms"}
    assert set(EVENTS) < set(fields["covers"])


def test_a_heartbeat_says_whether_memberships_would_be_pushed() -> None:
    assert read(write_heartbeat([*EVENTS, MEMBER])).covers_members
    for body in (b"{}", write_heartbeat(EVENTS), write_push(ROOM, CONTENTS, RULES)):
        assert not read(body).covers_members


@pytest.mark.parametrize(
    "rooms",
    [
        None,
        [],
        {"!r:s": None},
        {"!r:s": ["@a:s"]},
        {"!r:s": {"@a:s": "gone", "@b:s": None, "@c:s": ["ban"], "@d:s": "unheard"}},
        {"!r:s": {"a:s": "ban", "@" + "a" * 300: "ban"}},
        {"r:s": {"@a:s": "ban"}, "!" + "r" * 300: {"@a:s": "ban"}},
    ],
)
def test_what_is_no_membership_is_passed_over(rooms: object) -> None:
    assert read({"covers": [], "rooms": rooms}).members == ()


def test_of_too_many_memberships_the_first_are_read() -> None:
    rooms = {"!r:s": {f"@{number}:s": "leave" for number in range(MOST_MEMBERS + 50)}}
    assert len(read({"covers": [], "rooms": rooms}).members) == MOST_MEMBERS


@pytest.mark.parametrize("covers", [None, 3, "m.room.member", {MEMBER: 1}])
def test_covers_that_is_no_list_covers_nothing(covers: object) -> None:
    push = read({"covers": covers})
    assert (push.is_complete, push.covers_members) == (False, False)


def test_no_membership_takes_more_than_it_is_said_to() -> None:
    for each in (member("@a:s"), member("@\u0001\U0001f600:s", "invite")):
        empty = len(write_members([], ()))
        assert len(write_members([], (each,))) - empty <= length_of(each)
    assert length_of(member("@a:s")) < 50 < MOST_PUSH


@pytest.mark.parametrize("stamp", ["", "x", "-1", "1e3", "\u0661", "9" * 400, " 1", "1_0"])
def test_a_time_that_is_none_is_not_signed(stamp: str) -> None:
    digest = _digest(stamp, b"{}", SECRET)
    with pytest.raises(Unsigned, match="when it was sent"):
        read_push(b"{}", f"{stamp}.{digest}", SECRET, NOW, RULES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = ["room_id", "events", "covers", "rooms", *(rule.name for rule in RULES)]
PUSHES = st.dictionaries(
    st.sampled_from(NAMES),
    JSON | st.dictionaries(st.sampled_from([*EVENTS, "!r:s"]), JSON),
)


@given(JSON | PUSHES)
def test_whatever_json_is_in_a_push_it_is_read_or_not_believed(fields: object) -> None:
    try:
        read(json.dumps(fields).encode())
    except Unsigned:
        assert not isinstance(fields, dict)


@given(st.binary(max_size=200), st.text(max_size=40))
def test_whatever_bytes_come_they_are_read_or_not_believed(body: bytes, header: str) -> None:
    for said in (header, sign_push(body, SECRET, NOW)):
        try:
            read_push(body, said, SECRET, NOW, RULES)
        except Unsigned:
            continue


def test_that_a_rooms_power_levels_changed_is_told_beside_its_policies() -> None:
    push = read(write_push(ROOM, CONTENTS, RULES, changes_power=True))
    assert (push.room, push.changes_power, push.covers_power) == (ROOM, True, True)
    assert push.readings == read(write_push(ROOM, CONTENTS, RULES)).readings
    other = read(write_push(ROOM, CONTENTS, RULES))
    assert (other.changes_power, other.covers_power) == (False, False)


@pytest.mark.parametrize("said", [1, "true", None, [], {}, False])
def test_only_true_says_that_power_levels_changed(said: object) -> None:
    push = read(json.dumps({"room_id": ROOM, "events": {}, "power": said}).encode())
    assert not push.changes_power
    assert not read({"covers": [], "power": True}).changes_power, "of no room"


def test_a_push_of_power_levels_alone_says_nothing_of_policies() -> None:
    push = read(write_push(ROOM, {}, RULES, changes_power=True))
    assert (push.room, push.changes_power, push.readings) == (ROOM, True, {})
    assert not push.is_complete


def test_who_covers_all_rules_is_complete_with_power_levels_or_without() -> None:
    events = [rule.event for rule in RULES]
    found = [read(write_heartbeat(each)) for each in (events, [*events, POWER_LEVELS])]
    assert [each.is_complete for each in found] == [True, True]
    assert [each.covers_power for each in found] == [False, True]
    assert not read(write_heartbeat([*events[1:], POWER_LEVELS])).is_complete
    assert not read(b"{}").covers_power, "a module from before"
