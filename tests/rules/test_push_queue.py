"""What waits for the guard: the last of each room and person, bounded, and nothing told twice."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.ids import MOST_ID
from lotus_guard.core.membership import Membership
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.rules import push_queue
from lotus_guard.rules.push import MOST_MEMBERS, MOST_PUSH, Member
from lotus_guard.rules.push_queue import Parcel, PushQueue

ROOM, OTHER = RoomId("!r:s"), RoomId("!other:s")
JOIN, LEAVE, BAN = Membership.JOIN, Membership.LEAVE, Membership.BAN


def new() -> PushQueue:
    return PushQueue(["a", "m.room.member"])


def member(user: str, membership: Membership = LEAVE, room: RoomId = ROOM) -> Member:
    return Member(room, UserId(f"@{user}:s"), membership)


def taken(queue: PushQueue) -> Parcel:
    """What goes out next, and arrives."""
    parcel = queue.next()
    assert parcel is not None
    queue.sent(parcel)
    return parcel


def everything(queue: PushQueue) -> list[Parcel]:
    parcels = []
    while len(queue):
        parcels.append(taken(queue))
    assert queue.next() is None
    return parcels


def test_policies_go_first_and_of_a_room_the_last_ones() -> None:
    queue = new()
    queue.put_member(member("a"))
    for room, body in ((ROOM, b"1"), (OTHER, b"2"), (ROOM, b"3")):
        queue.put_policies(room, body)
    assert len(queue) == 3
    assert [each.body for each in everything(queue)[:2]] == [b"2", b"3"]


def test_memberships_of_several_rooms_go_in_one_push() -> None:
    queue = new()
    for each in (member("a"), member("b", BAN), member("a", JOIN, OTHER), member("a", BAN)):
        queue.put_member(each)
    (parcel,) = everything(queue)
    assert json.loads(parcel.body) == {
        "covers": ["a", "m.room.member"],
        "rooms": {ROOM: {"@b:s": "ban", "@a:s": "ban"}, OTHER: {"@a:s": "join"}},
    }


def test_who_was_told_of_is_not_told_of_again_until_it_changes() -> None:
    queue = new()
    queue.put_member(member("a", JOIN))
    taken(queue)
    queue.put_member(member("a", JOIN))
    assert queue.next() is None
    for membership in (LEAVE, JOIN):
        queue.put_member(member("a", membership))
        assert [each.membership for each in taken(queue).members] == [membership]


def test_what_changes_while_a_push_is_under_way_goes_out_after_it() -> None:
    queue = new()
    queue.put_member(member("a", LEAVE))
    queue.put_policies(ROOM, b"1")
    policies, queue_was = queue.next(), len(queue)
    queue.put_policies(ROOM, b"2")
    assert policies is not None
    queue.sent(policies)
    assert (len(queue), queue_was) == (2, 2)
    assert taken(queue).body == b"2"
    members = queue.next()
    queue.put_member(member("a", JOIN))
    assert members is not None
    queue.sent(members)
    assert [each.membership for each in taken(queue).members] == [JOIN]


def test_what_is_too_long_is_dropped_and_so_is_what_was_there_before() -> None:
    queue = new()
    queue.put_policies(ROOM, b"1")
    queue.put_policies(ROOM, b"x" * (MOST_PUSH + 1))
    assert queue.next() is None


def test_whether_a_change_of_power_waits_is_known_until_the_guard_took_it() -> None:
    queue = new()
    assert not queue.changes_power(ROOM)
    queue.put_policies(ROOM, b"1", changes_power=True)
    assert (queue.changes_power(ROOM), queue.changes_power(OTHER)) == (True, False)
    under_way = queue.next()
    assert under_way is not None
    queue.put_policies(ROOM, b"2", changes_power=True)
    queue.sent(under_way)
    assert queue.changes_power(ROOM), "what came after it waits on"
    assert taken(queue).changes_power
    assert not queue.changes_power(ROOM)


@pytest.mark.parametrize("name", ["MOST_ROOMS", "MOST_WAITING"])
def test_of_too_many_the_oldest_is_dropped(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(push_queue, name, 2)
    queue = new()
    for number in range(4):
        queue.put_policies(RoomId(f"!{number}"), b"1")
        queue.put_member(member(str(number)))
    assert len(queue) == 6
    kept = [each.room for each in everything(queue) if each.room]
    assert (len(kept) == 2) == (name == "MOST_ROOMS")


def test_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_queue, "MOST_BYTES", 3_000)
    queue = new()
    for number in range(100):
        queue.put_policies(RoomId(f"!{number}"), b"x" * 1_000)
        queue.put_member(member(str(number)))
    assert len(queue) < 12


IDS = st.text(st.characters(codec="utf-8"), max_size=MOST_ID // 4)


@given(st.lists(st.tuples(IDS, IDS, st.sampled_from([JOIN, LEAVE])), max_size=200))
def test_whatever_the_ids_every_push_fits(found: Any) -> None:
    queue = new()
    for room, user, membership in found:
        queue.put_member(Member(RoomId(f"!{room}"), UserId(f"@{user}"), membership))
    for parcel in everything(queue):
        assert len(parcel.body) <= MOST_PUSH
        assert len(parcel.members) <= MOST_MEMBERS


def test_where_ids_are_long_fewer_go_into_a_push() -> None:
    queue = new()
    for number in range(MOST_MEMBERS):
        room, user = f"!{number:0>200}", f"@{number:0>200}"
        queue.put_member(Member(RoomId(room), UserId(user), LEAVE))
    parcels = everything(queue)
    assert sum(len(each.members) for each in parcels) == MOST_MEMBERS
    assert all(len(each.body) <= MOST_PUSH for each in parcels)
    assert len(parcels) == 4


def test_many_go_out_in_few_pushes() -> None:
    queue = new()
    for number in range(2_000):
        queue.put_member(member(f"somebody-with-a-name-{number}", room=RoomId(f"!{number}:s")))
    parcels = everything(queue)
    assert len(parcels) < 8
    assert sum(len(each.members) for each in parcels) == 2_000
    assert all(len(each.body) <= MOST_PUSH for each in parcels)
