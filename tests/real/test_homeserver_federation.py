"""Two real Synapses with a stack each: a user of one homeserver in a call of the other's.

bob of B asks B. B's service has B ask A over federation, signed; A hands that on to A's guard. So
the token passes two guards: A's judges it, and B's cannot, for A's secret has signed it.
"""

from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from attrs import define

from lotus_guard.core.homeserver_wire import FEDERATION_PATHS
from lotus_guard.core.model import UserId
from lotus_guard.core.naming import plain_identity_of
from tests.real.by_homeserver import ask, fields_of, members
from tests.real.conftest import require_real
from tests.real.homeserver import AS_TOKEN, User
from tests.real.processes import Answer, until
from tests.real.sfu import SECRET
from tests.real.stack import NO_VIDEO, Behind, Stack, running_stack
from tests.real.test_explain import explained
from tests.real.test_main_job import claims

OTHER_SECRET = "the-secret-of-another-server-s-livekit"
FED_PROXY = "/_matrix/client/unstable/io.element.msc4512/appservice/fed_proxy"


@define(eq=False)
class Pair:
    """The homeserver where the call is, and another one."""

    near: Stack
    far: Stack

    def remote(self, room: str) -> User:
        """Make a user of the other homeserver who is in a room of ours."""
        (user,) = self.far.users(1)
        self.far.synapse.join(user, room, by=self.near.synapse.name)
        return user

    def ask(self, user: User, room: str, **more: str) -> Answer:
        """Ask for a token of our call service, as a client of the other homeserver does."""
        url, server = self.near.livekit.url, self.near.synapse.name
        return ask(self.far, user, room, url=url, server_name=server, **more)

    def ask_over_federation(self, room: str, **more: str) -> tuple[int, Any]:
        """Have the other homeserver sign a request of its service's, whatever that wants."""
        body = fields_of(self.near, room, **more)
        wanted = {
            "destination": self.near.synapse.name,
            "method": "POST",
            "path": FEDERATION_PATHS[1],
            "body": body,
        }
        answer = self.far.synapse.call("POST", FED_PROXY, AS_TOKEN, wanted)
        assert answer.status == 200, answer.body
        return answer.json()["status"], answer.json()["content"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    require_real()
    here, there = Behind(), Behind(secret=OTHER_SECRET)
    with (
        running_stack(tmp_path_factory.mktemp("near"), True, behind=here) as near,
        running_stack(tmp_path_factory.mktemp("far"), behind=there) as far,
    ):
        yield Pair(near, far)


def counted(stack: Stack, name: str) -> float:
    """Add up what a counter says, whatever its labels."""
    found = stack.guard.metrics().items()
    return sum(value for key, value in found if key.partition("{")[0] == name)


def refusal(pair: Pair, user: User, room: str) -> None:
    """Their own homeserver tells a user that the other one refuses."""
    answer = pair.ask(user, room)
    assert (answer.status, answer.json()["errcode"]) == (403, "M_FORBIDDEN"), answer.body


def test_a_remote_user_gets_a_token_that_our_guard_has_narrowed(pair: Pair) -> None:
    room = pair.near.room(quality=NO_VIDEO)
    bob = pair.remote(room)
    answer = pair.ask(bob, room)
    assert answer.status == 200, answer.body
    found = claims(answer)
    assert found["sub"] == plain_identity_of(UserId(bob.user_id), "m1")
    assert found["exp"] - found["nbf"] == 300, "our guard has signed it anew"
    # Until 0.10 lk-jwt-service let remote users publish nothing at all.
    video = found["video"]
    assert not video["canPublish"] or video["canPublishSources"] == ["microphone"]
    client = pair.near.join_with(answer.json()["jwt"])
    assert not client.publish("video", "camera")["ok"]
    client.disconnect()


def test_a_token_of_another_server_passes_unharmed_and_raises_no_alarm(pair: Pair) -> None:
    room = pair.near.room()
    bob = pair.remote(room)
    before = counted(pair.far, "lotus_guard_elsewhere_total")
    answer = pair.ask(bob, room)
    jwt.decode(answer.json()["jwt"], SECRET, algorithms=["HS256"])
    assert counted(pair.far, "lotus_guard_elsewhere_total") == before + 1.0
    for stack in (pair.near, pair.far):
        assert counted(stack, "lotus_guard_fail_open_total") == 0.0
        assert "same LIVEKIT_KEY and LIVEKIT_SECRET" not in stack.guard.process.text()
    assert counted(pair.near, "lotus_guard_elsewhere_total") == 0.0


def test_a_remote_user_takes_a_seat_and_has_it_at_each_visit(pair: Pair) -> None:
    room = pair.near.room(limit={"max_users": 1})
    bob, eve = pair.remote(room), pair.remote(room)
    (alice,) = members(pair.near, room, 1)
    client = pair.near.join_with(pair.ask(bob, room).json()["jwt"])
    until("bob is seen", lambda: len(pair.near.identities(room)) == 1)
    refused = ask(pair.near, alice, room)
    assert refused.status == 403
    assert "This call is full" in refused.json()["error"]
    assert pair.near.ask(alice, room).status == 403
    assert f"seated  {bob.user_id}" in explained(pair.near, alice, room)
    refusal(pair, eve, room)
    assert pair.ask(bob, room, member_id="reloaded").status == 200
    # By the old endpoint, with an OpenID token of their own homeserver's, they are the same.
    openid = pair.far.synapse.openid(bob)
    assert pair.near.ask(bob, room, openid=openid).status == 200
    client.disconnect()


def told_of_members(stack: Stack) -> bool:
    """Whether the homeserver tells the guard of members by itself."""
    return "lotus_guard_push_age_seconds" in stack.guard.metrics()


@pytest.mark.parametrize("how", ["kick", "ban"])
def test_a_remote_user_who_is_kicked_leaves_the_call_by_our_homeservers_word(
    pair: Pair, how: str
) -> None:
    room = pair.near.room()
    bob, carol = pair.remote(room), pair.remote(room)
    until("pushes come", lambda: told_of_members(pair.near))
    openid = pair.far.synapse.openid(bob)
    bob_in = pair.near.join_with(pair.ask(bob, room).json()["jwt"])
    carol_in = pair.near.join_with(pair.ask(carol, room).json()["jwt"])
    pair.near.synapse.membership(pair.near.synapse.admin, room, how, bob)
    bob_in.hears("disconnected")
    refused = pair.near.ask(bob, room, openid=openid, outside=True)
    assert refused.status == 403, refused.body
    assert not carol_in.heard("disconnected")
    carol_in.disconnect()


def test_a_remote_user_of_whom_nothing_is_known_is_let_in(pair: Pair) -> None:
    room = pair.near.room()
    (bob,) = pair.far.users(1)
    openid = pair.far.synapse.openid(bob)
    assert pair.near.ask(bob, room, openid=openid, outside=True).status == 200
    assert counted(pair.near, "lotus_guard_fail_open_total") == 0.0


def test_a_full_room_is_full_for_a_remote_user(pair: Pair) -> None:
    room = pair.near.room(limit={"max_users": 1})
    bob = pair.remote(room)
    (alice,) = members(pair.near, room, 1)
    assert ask(pair.near, alice, room).status == 200
    refusal(pair, bob, room)
    assert counted(pair.near, "lotus_guard_fail_open_total") == 0.0


def test_a_homeserver_asks_for_its_own_users_alone(pair: Pair) -> None:
    room = pair.near.room(limit={"max_users": 1})
    bob = pair.remote(room)
    (alice,) = members(pair.near, room, 1)
    name = pair.near.synapse.name
    for user in (alice.user_id, f"@bob:{name}", f"{bob.user_id}:{name}", bob.user_id[1:], ""):
        status, content = pair.ask_over_federation(room, user_id=user)
        assert status == 400, f"{user}: lk-jwt-service itself would say 403"
        assert "jwt" not in content
    assert pair.ask_over_federation(room, user_id=bob.user_id)[0] == 200


def test_who_is_not_in_the_room_gets_no_token(pair: Pair) -> None:
    room = pair.near.room()
    pair.remote(room)
    (stranger,) = pair.far.users(1)
    refusal(pair, stranger, room)
    assert pair.ask_over_federation(room, user_id=stranger.user_id)[0] == 403
