"""A transaction as hints: each event once, and no old news of who is where."""

import json
from typing import Any

from attrs import define, field

from lotus_guard.core.membership import Membership
from lotus_guard.core.model import RoomId
from lotus_guard.enforce.transactions import OLD_SECONDS, Changes, Transactions
from tests.core.test_transaction import NOW, ROOM, TYPES, member, policy

OTHER = RoomId("!o:s")


@define(eq=False)
class Office:
    """Where transactions arrive."""

    changes: list[Changes] = field(factory=list)
    outcomes: list[str] = field(factory=list)
    fails: bool = False
    taken: Transactions = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.taken = Transactions(TYPES, lambda: NOW, self.note, self.outcomes.append)

    def note(self, changes: Changes) -> None:
        if self.fails:
            raise ValueError("made up")
        self.changes.append(changes)

    def take(self, *events: Any) -> None:
        self.taken.take(json.dumps({"events": events}).encode())


def test_what_changed_is_handed_on_once_for_each_room_and_user() -> None:
    office = Office()
    left = member(event_id="$4", content={"membership": "leave"})
    office.take(policy(), policy(event_id="$3"), member(), left)
    (changes,) = office.changes
    assert changes == Changes([ROOM], [(ROOM, "@a:s", Membership.LEAVE)])  # type: ignore[list-item]
    assert office.outcomes == ["taken"]


def test_an_event_that_comes_again_counts_once_and_what_comes_with_it_counts() -> None:
    office = Office()
    office.take(policy())
    office.take(policy(), policy(event_id="$3", room_id=OTHER))
    office.take(policy())
    assert [list(each.rooms) for each in office.changes] == [[ROOM], [OTHER]]
    assert office.outcomes == ["taken"] * 3


def test_an_event_without_an_id_counts_each_time() -> None:
    office = Office()
    for _ in range(2):
        office.take(policy(event_id=None))
    assert len(office.changes) == 2


def test_a_membership_of_long_ago_is_not_handed_on_and_a_policy_is() -> None:
    office = Office()
    old = {"unsigned": {"age": int(1000 * OLD_SECONDS) + 1}}
    office.take(policy(**old), member(**old))
    assert office.changes == [Changes([ROOM], [])]
    office.take(member(event_id="$9", unsigned={"age": int(1000 * OLD_SECONDS)}))
    assert len(office.changes[1].members) == 1


def test_what_is_no_transaction_and_what_cannot_be_followed_is_counted(logged: list[Any]) -> None:
    office = Office(fails=True)
    office.taken.take(b"[]")
    office.take(policy())
    office.taken.dropped()
    assert office.outcomes == ["unreadable", "unreadable", "too_long"]
    assert len([event for event in logged if "Could not process" in event["log_format"]]) == 1
