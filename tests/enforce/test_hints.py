"""Webhooks and pushes are believed when they are signed, and only once."""

import base64
import hashlib
import json
import time
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field
from twisted.internet.task import Clock

from lotus_guard.core.membership import MEMBER, Membership
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.power import POWER_LEVELS
from lotus_guard.core.token import KeyPair, mint
from lotus_guard.core.webhook import Event, EventKind, read_event, write_event
from lotus_guard.enforce.credentials import FORMER_SECONDS, Credential
from lotus_guard.enforce.hints import CLOCKS, OLD_MODULE, Pushes, Taken, Webhooks
from lotus_guard.enforce.policies import AllPolicies
from lotus_guard.rules import RULES
from lotus_guard.rules.push import (
    HEARTBEAT,
    Member,
    Unsigned,
    sign_push,
    write_heartbeat,
    write_members,
    write_push,
)
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import KEY, OPEN, SECRET, VOICE
from tests.calls import (
    NO_CAMERA,
    PUSH,
    Counting,
    join,
    metric,
    push,
    settled,
    sources,
)
from tests.enforce.stand_ins import Homeserver, policies_of
from tests.events import SOURCES_EVENT, push_of
from tests.world import FAST, World


@pytest_twisted.ensureDeferred
async def test_forged_webhooks_wake_nobody(world: World) -> None:
    world.start_guard()
    await join(world, "alice", VOICE)
    looks: list[LiveKitRoom] = []
    live = world.guard.live
    live.room_pass.presence.service = Counting(live.service, looks)
    event = {"event": "track_published", "id": "EV", "room": {"name": "x"}}
    body, token = sign_webhook_json(event, SECRET)
    forgeries = [
        (body, ""),
        (body + b" ", token),
        (body, sign_webhook_json(event, "another-secret-of-more-than-32-characters")[1]),
        (b"\xff", token),
    ]
    for each, header in forgeries:
        await world.request("POST", "/sfu_webhook", each, {"Authorization": header})
    assert looks == []
    assert metric(world, "lotus_guard_webhooks_forged_total") == len(forgeries)


def sign_webhook_json(event: dict[str, Any], secret: str) -> tuple[bytes, str]:
    body = json.dumps(event).encode()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return body, mint(KeyPair(KEY, secret), sha256=digest)


@pytest_twisted.ensureDeferred
async def test_a_push_is_enforced_at_once_and_saves_the_polling(world: World) -> None:
    world.start_guard(LOTUS_GUARD_PUSH_SECRET=PUSH)
    alice = await join(world, "alice", OPEN)
    push(world, OPEN, NO_CAMERA)
    await settled(world)
    assert Source.CAMERA not in sources(alice)
    world.sandbox.homeserver.ignores_type = True
    asked = world.sandbox.homeserver.asked = []
    await world.guard.live.run_pass()
    assert asked == [], "policies that are pushed are not polled"
    assert (await world.ask("bob", OPEN)).sources is not None


@pytest_twisted.ensureDeferred
async def test_old_repeated_and_unsigned_pushes_change_nothing(world: World) -> None:
    world.start_guard(**FAST, LOTUS_GUARD_PUSH_SECRET=PUSH)
    now = time.time()
    push(world, OPEN, NO_CAMERA, now)
    body = push_of(RoomId(OPEN), None, {})
    for header in (
        "",
        "x",
        sign_push(body, "another-push-secret", now),
        sign_push(body, PUSH, now - 61),
    ):
        with pytest.raises(Unsigned):
            world.guard.hints.push(body, header)
    once = sign_push(body, PUSH, now - 1)
    world.guard.hints.push(body, once)  # genuine, but sent before what we have
    with pytest.raises(Unsigned):
        world.guard.hints.push(body, once)
    world.sandbox.homeserver.hangs_for = SOURCES_EVENT
    assert "camera" not in ((await world.ask("alice", OPEN)).sources or ["camera"])


# By themselves.

PAIR, NEW_PAIR = KeyPair(KEY, SECRET), KeyPair(KEY, "a-new-secret-of-more-than-32-characters")
EVENT = Event("EV_1", EventKind.LEFT, LiveKitRoom("call"), Identity("i"), "S", on_purpose=True)
ROOM = RoomId("!r:s")


@define(eq=False)
class Post:
    """Where webhooks arrive."""

    clock: Clock = field(factory=Clock)
    events: list[Event] = field(factory=list)
    passed_on: list[tuple[bytes, str]] = field(factory=list)
    keys: Credential[KeyPair] = field(init=False)
    webhooks: Webhooks = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1000.0)
        now = self.clock.seconds
        self.keys = Credential("LIVEKIT", PAIR, read=lambda: NEW_PAIR, now=now)
        self.webhooks = Webhooks(
            self.keys,
            now,
            self.events.append,
            lambda body, authorization: self.passed_on.append((body, authorization)),
        )

    def take(self, event: Event = EVENT, secret: str = SECRET, **more: Any) -> None:
        self.webhooks.take(*write_event(event, KEY, secret), **more)


def test_a_genuine_webhook_is_handed_on_once_and_told_the_others() -> None:
    post = Post()
    assert post.webhooks.describe()["state"] == "unknown"
    post.take()
    post.take()
    assert post.events == [EVENT]
    assert [read_event(*each, KEY, SECRET) for each in post.passed_on] == [EVENT]
    assert (post.webhooks.genuine, post.webhooks.forged) == (2, 0)
    post.clock.advance(5.0)
    assert post.webhooks.describe() == {
        "name": "webhooks",
        "state": "ok",
        "age": 5.0,
        "detail": "",
    }


def test_what_another_guard_passed_on_is_passed_on_no_further() -> None:
    post = Post()
    post.take(is_heard=True)
    assert (post.events, post.passed_on) == ([EVENT], [])


def test_a_webhook_without_an_id_is_no_double() -> None:
    post = Post()
    for _ in range(2):
        post.take(evolve(EVENT, id=""))
    assert len(post.events) == 2


def test_a_webhook_that_is_not_worth_a_look_is_genuine_all_the_same() -> None:
    post = Post()
    post.webhooks.take(*sign_webhook_json({"event": "room_started"}, SECRET))
    assert (post.events, post.webhooks.genuine, post.webhooks.last) == ([], 1, 1000.0)


def test_a_forged_webhook_is_counted_and_does_no_more(logged: list[Any]) -> None:
    post = Post()
    for _ in range(50):
        post.take(secret="another-secret-of-more-than-32-characters")
    assert (post.events, post.webhooks.genuine, post.webhooks.forged) == ([], 0, 50)
    assert post.webhooks.last is None
    assert len(logged) == 1, "and nobody fills the log"


def test_what_the_last_secret_signed_is_believed_for_a_while() -> None:
    post = Post()
    post.keys.files = (__file__,)
    post.keys.again()
    assert post.keys.value == NEW_PAIR
    post.take()
    assert post.webhooks.genuine == 1
    assert read_event(*post.passed_on[0], KEY, NEW_PAIR.secret) == EVENT, "signed anew"
    post.clock.advance(FORMER_SECONDS + 1.0)
    post.take(evolve(EVENT, id="EV_2"))
    assert post.webhooks.forged == 1


def test_a_webhook_announces_itself_and_no_clients_token_does() -> None:
    post = Post()
    assert post.webhooks.are_livekits(write_event(EVENT, KEY, SECRET)[1])
    assert not post.webhooks.are_livekits(mint(PAIR, sub="i", video={"room": "call"}))
    assert not post.webhooks.are_livekits("")


@define(eq=False)
class Mail:
    """Where pushes arrive."""

    secret: str = PUSH
    clock: Clock = field(factory=Clock)
    policies: AllPolicies = field(init=False)
    pushes: Pushes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1000.0)
        self.policies = policies_of(RULES, Homeserver(), self.clock)
        self.pushes = Pushes(
            Credential("PUSH", self.secret),
            2.0,
            60.0,
            self.clock.seconds,
            self.epoch,
            RULES,
        )

    def epoch(self) -> float:
        return 1_790_000_000.0 + self.clock.seconds()

    def take(self, content: Any, age: float = 0.0, secret: str = PUSH) -> RoomId | None:
        """Take in a push of the limit that was sent so many seconds ago."""
        body = push_of(ROOM, content, None)
        header = sign_push(body, secret, self.epoch() - age)
        return self.pushes.take(body, header, self.policies).room

    def tell(self, *members: Member, age: float = 0.0) -> list[str]:
        """Take in a push of memberships that was sent so many seconds ago; returns the news."""
        body = write_members([MEMBER], members)
        header = sign_push(body, PUSH, self.epoch() - age)
        taken = self.pushes.take(body, header, self.policies)
        assert taken.room is None
        return [each.membership.value for each in taken.members]

    def beat(self, event_types: list[str]) -> None:
        """Take in a heartbeat."""
        body = write_heartbeat(event_types)
        self.pushes.take(body, sign_push(body, PUSH, self.epoch()), self.policies)

    def recall(self, content: Any, age: float, secret: str = PUSH) -> None:
        body = push_of(ROOM, content, None)
        self.pushes.recall(body, sign_push(body, secret, self.epoch() - age), self.policies)

    def limit(self) -> int | None:
        last = self.policies.of("limit").last(ROOM)
        return None if last is None else last.max_users

    def state(self) -> tuple[str, Any, str]:
        told = self.pushes.describe()
        return told["state"], told["age"], told["detail"]


def test_a_push_is_taken_and_polls_are_rarer_while_they_come() -> None:
    mail = Mail()
    assert (mail.pushes.are_coming(), mail.pushes.policy_max_age()) == (False, 2.0)
    assert mail.take({"max_users": 3}) == ROOM
    assert (mail.limit(), mail.pushes.taken) == (3, 1)
    assert (mail.pushes.are_coming(), mail.pushes.policy_max_age()) == (True, 60.0)
    mail.clock.advance(3 * HEARTBEAT + 0.1)
    assert (mail.pushes.are_coming(), mail.pushes.policy_max_age()) == (False, 2.0)


def test_where_the_module_does_not_push_all_that_we_read_policies_are_polled() -> None:
    mail = Mail()
    mail.beat([rule.event for rule in RULES][1:])
    assert mail.state() == ("trouble", 0.0, f"{OLD_MODULE}; the guard polls policies")
    assert (mail.pushes.are_coming(), mail.pushes.policy_max_age()) == (False, 2.0)
    mail.beat([rule.event for rule in RULES])
    assert mail.state() == ("ok", 0.0, "")
    assert (mail.pushes.are_coming(), mail.pushes.policy_max_age()) == (True, 60.0)
    mail.clock.advance(3 * HEARTBEAT + 0.1)
    assert mail.state()[2] == "they have stopped; the guard polls policies"


def test_of_two_pushes_the_later_one_holds_in_whatever_order_they_come() -> None:
    mail = Mail()
    mail.take({"max_users": 3})
    assert mail.take({"max_users": 4}, age=1.0) is None
    assert mail.limit() == 3
    assert mail.pushes.taken == 2, "it was genuine"


def test_what_was_pushed_before_this_guard_listened_counts_from_then() -> None:
    mail = Mail()
    mail.recall({"max_users": 3}, age=100.0)
    assert mail.limit() == 3
    assert mail.policies.of("limit").age(ROOM) == pytest.approx(100.0, abs=0.01)
    assert mail.pushes.last is None, "it says nothing of whether they come now"
    mail.recall({"max_users": 4}, age=200.0)
    assert mail.limit() == 3
    mail.recall({"max_users": 5}, age=50.0, secret="another-push-secret")
    assert mail.limit() == 3, "it is as good as its signature"
    mail.pushes.recall(b"x", "y", mail.policies)
    mail.recall({"max_users": 6}, age=10.0)
    assert mail.limit() == 6


def test_where_synapses_clock_is_ahead_an_older_push_is_older_all_the_same() -> None:
    mail = Mail()
    mail.take({"max_users": 3}, age=-50.0)
    mail.clock.advance(1.0)
    mail.recall({"max_users": 4}, age=-48.0)
    assert mail.limit() == 3


@pytest.mark.parametrize(
    ("secret", "age", "why"),
    [
        ("another-push-secret", 0.0, "the last one was signed with another secret"),
        (PUSH, 61.0, f"the last one was sent 61 s ago by its sender's clock: {CLOCKS}"),
    ],
)
def test_a_push_that_is_refused_says_why_until_one_is_taken(
    secret: str, age: float, why: str
) -> None:
    mail = Mail()
    with pytest.raises(Unsigned):
        mail.take({"max_users": 3}, age, secret)
    assert (mail.limit(), mail.pushes.refused) == (None, 1)
    mail.clock.advance(2.0)
    assert mail.state() == ("trouble", None, why)
    assert mail.pushes.refused_age() == 2.0
    mail.take({"max_users": 3})
    assert mail.state() == ("ok", 0.0, "")


def test_the_same_push_counts_once() -> None:
    mail = Mail()
    mail.take({"max_users": 3})
    with pytest.raises(Unsigned, match="received before"):
        mail.take({"max_users": 3})


def test_a_signed_push_that_makes_no_sense_is_refused_as_any() -> None:
    mail = Mail()
    for body in (b"[]", b"no json", b"3"):
        with pytest.raises(Unsigned, match="cannot be read"):
            mail.pushes.take(body, sign_push(body, PUSH, mail.epoch()), mail.policies)


def test_how_pushes_do_is_told_in_words() -> None:
    assert Mail(secret="").state() == ("off", None, "LOTUS_GUARD_PUSH_SECRET is not set")
    mail = Mail()
    assert mail.state() == ("unknown", None, "none received yet; the guard polls policies")
    mail.take(None)
    mail.clock.advance(31.0)
    assert mail.state() == ("trouble", 31.0, "they have stopped; the guard polls policies")


def test_without_a_secret_no_push_is_believed() -> None:
    mail = Mail(secret="")
    with pytest.raises(Unsigned, match="is not set"):
        mail.take({"max_users": 3}, secret="")


def is_now(membership: str, user: str = "@a:s") -> Member:
    return Member(ROOM, UserId(user), Membership(membership))


def test_of_two_memberships_of_one_user_the_later_one_holds_in_whatever_order() -> None:
    mail = Mail()
    assert mail.tell(is_now("join"), age=1.0) == ["join"]
    assert mail.tell(is_now("ban"), is_now("leave", "@b:s"), age=2.0) == ["leave"]
    assert mail.tell(is_now("leave"), age=0.5) == ["leave"]


def test_a_policy_and_a_membership_of_one_room_do_not_make_each_other_old() -> None:
    mail = Mail()
    assert mail.tell(is_now("ban")) == ["ban"]
    assert mail.take({"max_users": 3}, age=1.0) == ROOM
    assert mail.limit() == 3
    assert mail.tell(is_now("leave", "@b:s"), age=2.0) == ["leave"]
    assert mail.pushes.taken == 3


def test_whether_memberships_come_is_known_from_what_their_sender_covers() -> None:
    mail = Mail()
    every = [rule.event for rule in RULES]
    mail.beat(every)
    assert (mail.pushes.are_coming(), mail.pushes.members_are_coming()) == (True, False)
    mail.beat([MEMBER, *every])
    mail.clock.advance(3 * HEARTBEAT)
    assert mail.pushes.members_are_coming()
    mail.clock.advance(0.1)
    assert not mail.pushes.members_are_coming()
    mail.take({"max_users": 3})
    assert not mail.pushes.members_are_coming(), "policies say nothing of it"
    mail.tell(is_now("join"))
    assert mail.pushes.members_are_coming()
    assert mail.pushes.members_since == mail.clock.seconds(), "there was a pause"
    mail.clock.advance(HEARTBEAT)
    mail.beat([MEMBER, *every])
    assert mail.pushes.members_since == mail.clock.seconds() - HEARTBEAT


def tell_power(mail: Mail, age: float = 0.0) -> Taken:
    """Take in a push of changed power levels that was sent so many seconds ago."""
    contents = dict.fromkeys(rule.event for rule in RULES)
    body = write_push(ROOM, contents, RULES, changes_power=True)
    header = sign_push(body, PUSH, mail.epoch() - age)
    return mail.pushes.take(body, header, mail.policies)


def test_of_changed_power_levels_the_room_is_told() -> None:
    mail = Mail()
    assert tell_power(mail) == Taken(ROOM, (), True)
    assert mail.take({"max_users": 3}) == ROOM
    contents = dict.fromkeys(rule.event for rule in RULES)
    body = write_push(ROOM, contents, RULES)
    header = sign_push(body, PUSH, mail.epoch())
    assert not mail.pushes.take(body, header, mail.policies).power


def test_an_older_push_of_power_levels_counts_though_its_policies_do_not() -> None:
    mail = Mail()
    mail.take({"max_users": 3})
    assert tell_power(mail, age=1.0) == Taken(ROOM, (), True)
    assert mail.limit() == 3


def test_whether_changes_of_power_come_is_known_from_what_their_sender_covers() -> None:
    mail = Mail()
    every = [rule.event for rule in RULES]
    mail.beat(every)
    assert (mail.pushes.are_coming(), mail.pushes.power_is_coming()) == (True, False)
    assert mail.state() == ("ok", 0.0, ""), "a module from before is complete without them"
    mail.beat([POWER_LEVELS, *every])
    mail.clock.advance(3 * HEARTBEAT)
    assert mail.pushes.power_is_coming()
    mail.clock.advance(0.1)
    assert not mail.pushes.power_is_coming()
    mail.take({"max_users": 3})
    assert not mail.pushes.power_is_coming(), "policies say nothing of it"
    tell_power(mail)
    assert mail.pushes.power_is_coming()
