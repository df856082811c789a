"""Where hints meet: from outside they are passed on, from another guard they are not."""

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from lotus_guard.core.membership import MEMBER, Membership
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.enforce.transactions import Changes
from lotus_guard.rules.push import Member, Unsigned, sign_push, write_members
from lotus_guard.run.hints import Hints
from tests.events import push_of
from tests.run.parts import EPOCH, guard_on

ROOM = RoomId("!r:s")
SECRET = "a-push-secret-for-tests"
BODY = push_of(ROOM, {"max_users": 2}, None)


@define(eq=False)
class Told:
    """The other guards."""

    news: list[Any] = field(factory=list)

    def tell_issued(self, room: RoomId) -> None:
        self.news.append(("issued", room))

    def tell_changes(self, changes: Changes) -> None:
        self.news.append(("changes", changes))

    def tell_push(self, room: RoomId | None, body: bytes, header: str) -> None:
        self.news.append(("push", room, body, header))


@define(eq=False)
class Woken:
    """A live loop of which the test sees what wakes it."""

    inner: Any
    rooms: list[RoomId] = field(factory=list)

    @property
    def candidates(self) -> Any:
        return self.inner.candidates

    def wake(self, room: RoomId) -> None:
        self.rooms.append(room)


@define(eq=False)
class Scene:
    hints: Hints
    told: Told
    live: Woken
    policies: Any
    members: list[Any] = field(factory=list)

    def note(self, room: RoomId, user: UserId, membership: Membership) -> None:
        if user == "@bad:s":
            raise ValueError("made up")
        self.members.append((room, user, membership))

    def limit(self) -> Any:
        return self.policies.of("limit").age(ROOM)


@pytest.fixture
def scene() -> Scene:
    guard = guard_on(Clock(), LOTUS_GUARD_PUSH_SECRET=SECRET)
    told, live = Told(), Woken(guard.live)
    policies: Any = guard.live.candidates.policies
    made: Any = Hints
    hints = made(guard.hints.webhooks, guard.hints.pushes, policies, live, told)
    made_scene = Scene(hints, told, live, policies)
    hints.on_member = made_scene.note
    return made_scene


def test_a_push_changes_the_policy_wakes_the_room_and_is_passed_on(scene: Scene) -> None:
    header = sign_push(BODY, SECRET, EPOCH)
    scene.hints.push(BODY, header)
    assert scene.limit() == 0.0
    assert scene.live.rooms == [ROOM]
    assert scene.told.news == [("push", ROOM, BODY, header)]


def memberships(*users: str) -> tuple[bytes, str]:
    members = [Member(ROOM, UserId(user), Membership.BAN) for user in users]
    body = write_members([MEMBER], members)
    return body, sign_push(body, SECRET, EPOCH)


def test_memberships_are_handed_on_here_and_passed_on_and_wake_nobody(scene: Scene) -> None:
    body, header = memberships("@a:s", "@b:s")
    scene.hints.push(body, header)
    assert scene.members == [(ROOM, user, Membership.BAN) for user in ("@a:s", "@b:s")]
    assert scene.told.news == [("push", None, body, header)]
    assert (scene.limit(), scene.live.rooms) == (None, [])


def test_memberships_that_another_guard_got_are_handed_on_as_well(scene: Scene) -> None:
    scene.hints.on_push(*memberships("@a:s"))
    assert len(scene.members) == 1
    assert scene.told.news == []


def test_a_membership_that_cannot_be_followed_costs_no_other(
    scene: Scene, logged: list[Any]
) -> None:
    scene.hints.push(*memberships("@bad:s", "@b:s"))
    assert scene.members == [(ROOM, "@b:s", Membership.BAN)]
    assert len([event for event in logged if "membership" in event["log_format"]]) == 1


def test_what_a_transaction_changed_is_asked_for_handed_on_and_passed_on(scene: Scene) -> None:
    scene.hints.push(BODY, sign_push(BODY, SECRET, EPOCH))
    limit = scene.policies.of("limit")
    assert limit.at_hand(ROOM) is not None
    scene.live.inner.clock.advance(0.1)
    who = (ROOM, UserId("@a:s"), Membership.JOIN)
    changes = Changes([ROOM], [who])
    scene.hints.changes(changes)
    assert scene.live.rooms == [ROOM, ROOM]
    assert limit.at_hand(ROOM) is None
    assert limit.last(ROOM) is not None
    assert scene.members == [who]
    assert scene.told.news[1:] == [("changes", changes)]
    scene.hints.on_changes(changes)
    assert scene.members == [who, who]
    assert len(scene.told.news) == 2, "what another guard tells is told to nobody again"


def test_a_push_that_nobody_signed_does_nothing(scene: Scene) -> None:
    with pytest.raises(Unsigned):
        scene.hints.push(BODY, sign_push(BODY, "another-secret-entirely", EPOCH))
    assert (scene.limit(), scene.live.rooms, scene.told.news) == (None, [], [])


def test_another_guards_push_does_the_same_and_is_not_passed_on(scene: Scene) -> None:
    scene.hints.on_push(BODY, sign_push(BODY, SECRET, EPOCH))
    assert scene.limit() == 0.0
    assert scene.live.rooms == [ROOM]
    assert scene.told.news == []


def test_another_guard_is_not_believed_either(scene: Scene, logged: list[Any]) -> None:
    for _ in range(50):
        scene.hints.on_push(BODY, sign_push(BODY, "another-secret-entirely", EPOCH))
    assert (scene.limit(), scene.live.rooms) == (None, [])
    assert len([event for event in logged if "Refused a push" in event["log_format"]]) == 1


def test_an_old_push_is_taken_up_and_wakes_nobody(scene: Scene) -> None:
    scene.hints.on_old_push(BODY, sign_push(BODY, SECRET, EPOCH))
    assert scene.live.rooms == []
    assert scene.told.news == []


def test_a_token_is_expected_and_the_others_hear_of_it_once(scene: Scene) -> None:
    scene.hints.issued(ROOM)
    assert scene.told.news == [("issued", ROOM)]
    other = RoomId("!o:s")
    scene.hints.on_issued(other)
    assert scene.told.news == [("issued", ROOM)]
    expected = scene.live.candidates._expected
    assert [expected.get(room) for room in (ROOM, other)] == [0.0, 0.0]
