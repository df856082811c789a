"""The module in Synapse's process: it tells the guard, holds nothing up, and gives up on nobody."""

import importlib
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from lotus_guard.core.membership import MEMBER, Membership
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import CREATE, POWER_LEVELS, PowerLevels
from lotus_guard.overload.http_limits import MOST_REQUEST
from lotus_guard.rules import RULES, push_queue
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.push import HEADER, MOST_PUSH, Member, Push, read_push
from tests.enforce.stand_ins import result
from tests.events import LIMIT_EVENT, SOURCES_EVENT

SECRET = "a-push-secret-for-tests"
URL = "http://127.0.0.1:8072"
ROOM = "!r:s"


class ConfigError(Exception):
    """Synapse's own, as far as the module uses it."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)
        self.msg = msg


class SynapseError(Exception):
    """Synapse's own, as far as the module uses it."""

    def __init__(self, code: int, msg: str, errcode: str) -> None:
        super().__init__(msg)
        self.code, self.msg, self.errcode = code, msg, errcode


class Codes:
    BAD_JSON = "M_BAD_JSON"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, where Synapse itself is not to be had."""
    errors: Any = ModuleType("synapse.module_api.errors")
    errors.Codes, errors.ConfigError, errors.SynapseError = Codes, ConfigError, SynapseError
    for name in ("synapse", "synapse.module_api"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "synapse.module_api.errors", errors)
    yield importlib.import_module("lotus_guard.synapse_module")
    sys.modules.pop("lotus_guard.synapse_module", None)


@define
class Response:
    """A whole answer."""

    code: int
    phrase: bytes = b""
    body: bytes = b"why"

    def deliverBody(self, reader: Any) -> None:
        reader.dataReceived(self.body)
        reader.connectionLost(Failure(ResponseDone()))


@define(eq=False)
class Api:
    """Synapse's module API, led by the test: the guard answers with `codes`, then with 204."""

    codes: list[int] = field(factory=list)
    """0 for a guard that is away."""
    pushes: list[Push] = field(factory=list)
    """What the guard took."""
    tried: int = 0
    pauses: list[float] = field(factory=list)
    delayed: list[Callable[[], Awaitable[Any]]] = field(factory=list)
    looping: list[tuple[Callable[[], Awaitable[Any]], float]] = field(factory=list)
    callbacks: dict[str, Any] = field(factory=dict)
    held: Deferred[None] | None = None
    """The guard answers when this fires."""
    secret: str = SECRET
    states: dict[str, Any] = field(factory=dict)
    """The state of rooms that the module may look at."""
    looked_at: list[Any] = field(factory=list)
    forbidden: frozenset[str] = frozenset()
    """The types of events that nobody may send."""
    sent: list[dict[str, Any]] = field(factory=list)

    def register_third_party_rules_callbacks(self, **callbacks: Any) -> None:
        self.callbacks = callbacks

    def looping_background_call(self, call: Any, milliseconds: float, desc: str) -> None:
        self.looping.append((call, milliseconds))

    def delayed_background_call(
        self, milliseconds: float, call: Any, *args: Any, desc: str
    ) -> None:
        self.delayed.append(lambda: call(*args))

    async def get_room_state(self, room: str, wanted: Any) -> Any:
        self.looked_at.append((room, list(wanted)))
        if room not in self.states:
            raise KeyError("made up")
        return self.states[room]

    async def create_and_send_event_into_room(self, event: dict[str, Any]) -> None:
        if event["type"] in self.forbidden:
            raise SynapseError(403, "not enough power", "M_FORBIDDEN")
        self.sent.append(event)

    def is_mine(self, user: str) -> bool:
        return user.endswith(":s")

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        assert len(self.pauses) < 20, "it would go on for ever"

    @property
    def http_client(self) -> Any:
        return self

    async def request(self, method: str, uri: str, data: bytes, headers: Any) -> Response:
        assert (method, uri) == ("POST", f"{URL}/policy")
        self.tried += 1
        if self.held is not None:
            await self.held
        code = self.codes.pop(0) if self.codes else 204
        if code == 0:
            raise ConnectionRefusedError("made up")
        (signature,) = headers.getRawHeaders(HEADER)
        if code == 204:
            sent = int(signature.partition(".")[0]) / 1000.0
            self.pushes.append(read_push(data, signature, self.secret, sent, RULES))
        return Response(code)

    def run(self) -> None:
        """Run what was put off."""
        while self.delayed:
            ensureDeferred(self.delayed.pop(0)())  # type: ignore[arg-type]


@define
class Event:
    """A state event, as far as the module looks at it."""

    type: str = LIMIT_EVENT
    content: Any = field(factory=lambda: {"max_users": 2})
    state_key: str | None = ""
    sender: str = "@a:s"
    room_id: str = ROOM

    def is_state(self) -> bool:
        return self.state_key is not None


@define(eq=False)
class Homeserver:
    """The module, loaded."""

    module: Any
    api: Api = field(factory=Api)
    config: dict[str, Any] = field(factory=dict)
    made: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        config = {"guard_url": f"{URL}/", "push_secret": SECRET, **self.config}
        kind = self.module.LotusGuardModule
        self.made = kind(kind.parse_config(config), self.api)
        self.api.delayed.clear()  # the first heartbeat

    def new(self, event: Event, *others: Event) -> None:
        """Have a new event in a room whose state holds it, and others."""
        state = {(each.type, each.state_key): each for each in (event, *others)}
        result(ensureDeferred(self.made.on_new_event(event, state)))

    def is_allowed(self, event: Event) -> Any:
        return result(ensureDeferred(self.made.check_event_allowed(event, {})))

    def beat(self) -> None:
        result(ensureDeferred(self.api.looping[0][0]()))  # type: ignore[arg-type]


@pytest.fixture
def homeserver(module: Any) -> Homeserver:
    return Homeserver(module)


def policies(push: Push) -> dict[str, Any]:
    return {name: reading.policy for name, reading in push.readings.items()}


def test_a_changed_policy_is_pushed_with_the_rooms_others(homeserver: Homeserver) -> None:
    homeserver.new(Event(), Event(SOURCES_EVENT, {"allow_camera": False}))
    assert homeserver.api.tried == 0, "the event is not held up"
    homeserver.api.run()
    (push,) = homeserver.api.pushes
    assert push.room == ROOM
    assert policies(push)["limit"] == LimitPolicy(2)
    assert policies(push)["sources"].restricts


def test_of_a_rule_without_an_event_the_guard_is_told_so(homeserver: Homeserver) -> None:
    homeserver.new(Event())
    homeserver.api.run()
    assert not policies(homeserver.api.pushes[0])["sources"].restricts


@pytest.mark.parametrize(
    "event", [Event("m.room.name"), Event(state_key="@a:s"), Event(state_key=None)]
)
def test_other_events_are_none_of_the_guards(homeserver: Homeserver, event: Event) -> None:
    homeserver.new(event)
    assert homeserver.api.delayed == []


def test_of_several_changes_of_a_room_the_last_one_is_pushed(homeserver: Homeserver) -> None:
    for most in (2, 3, 4):
        homeserver.new(Event(content={"max_users": most}))
    homeserver.new(Event(room_id="!other:s"))
    assert len(homeserver.api.delayed) == 1, "one task sends all"
    homeserver.api.run()
    told = [(push.room, policies(push)["limit"]) for push in homeserver.api.pushes]
    assert told == [(ROOM, LimitPolicy(4)), ("!other:s", LimitPolicy(2))]


def test_a_change_while_a_push_is_under_way_is_pushed_after_it(homeserver: Homeserver) -> None:
    homeserver.api.held = Deferred()
    homeserver.new(Event(content={"max_users": 2}))
    homeserver.api.run()
    homeserver.new(Event(content={"max_users": 3}))
    held, homeserver.api.held = homeserver.api.held, None
    held.callback(None)
    told = [policies(push)["limit"] for push in homeserver.api.pushes]
    assert told == [LimitPolicy(2), LimitPolicy(3)]


def test_a_guard_that_is_away_is_tried_again_with_longer_pauses(homeserver: Homeserver) -> None:
    homeserver.api.codes = [0] * 4 + [503] * 3
    homeserver.new(Event())
    homeserver.api.run()
    assert homeserver.api.pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert len(homeserver.api.pushes) == 1


def test_a_push_that_gets_through_makes_the_next_pause_a_short_one(homeserver: Homeserver) -> None:
    homeserver.api.codes = [0, 0, 204, 0]
    for room in (ROOM, "!other:s"):
        homeserver.new(Event(room_id=room))
    homeserver.api.run()
    assert homeserver.api.pauses == [1.0, 2.0, 1.0]
    assert [push.room for push in homeserver.api.pushes] == [ROOM, "!other:s"]


def test_of_too_many_rooms_that_wait_the_oldest_is_dropped(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_queue, "MOST_ROOMS", 2)
    homeserver = Homeserver(module)
    for room in ("!one:s", "!two:s", "!three:s"):
        homeserver.new(Event(room_id=room))
    homeserver.api.run()
    assert [push.room for push in homeserver.api.pushes] == ["!two:s", "!three:s"]


def test_a_policy_too_long_for_a_push_holds_up_nobody_elses(
    homeserver: Homeserver, caplog: pytest.LogCaptureFixture
) -> None:
    """The guard would refuse it for good, and whoever makes a room can write one."""
    assert MOST_PUSH == MOST_REQUEST
    with caplog.at_level(logging.WARNING):
        homeserver.new(Event(content={"max_users": 2}))
        homeserver.new(Event(content={"max_users": 2, "note": "x" * MOST_PUSH}))
        homeserver.new(Event(room_id="!other:s"))
    homeserver.api.run()
    assert [push.room for push in homeserver.api.pushes] == ["!other:s"]
    assert "too long to push" in caplog.text
    homeserver.beat()
    assert homeserver.api.pushes[-1].room is None


def test_a_heartbeat_goes_out_only_while_nothing_waits(homeserver: Homeserver) -> None:
    assert homeserver.api.looping[0][1] == 10_000.0
    homeserver.beat()
    assert [(p.room, p.is_complete) for p in homeserver.api.pushes] == [(None, True)]
    homeserver.new(Event())
    homeserver.beat()
    assert homeserver.api.tried == 1, "the guard must notice that pushes do not get through"


def test_a_secret_in_a_file_is_read_again_when_the_guard_does_not_believe_it(
    module: Any, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    config = {"push_secret_path": str(path), "push_secret": None}
    homeserver = Homeserver(module, Api(codes=[401, 401]), config)
    path.write_text("")
    homeserver.new(Event())
    homeserver.api.run()
    assert len(homeserver.api.pushes) == 1, "a senseless file changes nothing"
    path.write_text("another-push-secret-for-tests")
    homeserver.api.codes, homeserver.api.secret = [401], "another-push-secret-for-tests"
    homeserver.new(Event())
    homeserver.api.run()
    assert len(homeserver.api.pushes) == 2


def is_member(user: str, membership: str, room: str = ROOM, **more: Any) -> Event:
    return Event(MEMBER, {"membership": membership, **more}, user, user, room)


def told(homeserver: Homeserver) -> list[tuple[str, str, str]]:
    """What the guard was told of members."""
    members = [each for push in homeserver.api.pushes for each in push.members]
    return [(each.room, each.user, each.membership.value) for each in members]


@pytest.mark.parametrize("membership", ["join", "invite", "knock", "leave", "ban"])
def test_a_changed_membership_is_pushed(homeserver: Homeserver, membership: str) -> None:
    homeserver.new(is_member("@eve:other", membership))
    assert homeserver.api.tried == 0, "the event is not held up"
    homeserver.api.run()
    (push,) = homeserver.api.pushes
    assert push.members == (Member(RoomId(ROOM), UserId("@eve:other"), Membership(membership)),)
    assert (push.room, push.covers_members, push.is_complete) == (None, True, True)


def test_members_of_many_rooms_are_gathered(homeserver: Homeserver) -> None:
    homeserver.new(Event())
    for number in range(300):
        homeserver.new(is_member(f"@u{number}:s", "leave", f"!{number % 7}:s"))
    homeserver.api.run()
    assert [push.room for push in homeserver.api.pushes] == [ROOM, None]
    assert len(told(homeserver)) == 300
    assert homeserver.api.pauses == [homeserver.module.GATHERING]


def test_who_only_changes_their_name_is_pushed_once(homeserver: Homeserver) -> None:
    for name in ("A", "B", "C"):
        homeserver.new(is_member("@a:s", "join", displayname=name))
        homeserver.api.run()
    assert told(homeserver) == [(ROOM, "@a:s", "join")]
    for membership in ("ban", "leave", "join"):
        homeserver.new(is_member("@a:s", membership))
        homeserver.api.run()
    assert [each[2] for each in told(homeserver)] == ["join", "ban", "leave", "join"]


def test_the_rooms_state_counts_and_where_there_is_none_the_event(homeserver: Homeserver) -> None:
    late, now = is_member("@a:s", "ban"), is_member("@a:s", "join")
    result(ensureDeferred(homeserver.made.on_new_event(late, {(MEMBER, "@a:s"): now})))
    homeserver.api.run()
    result(ensureDeferred(homeserver.made.on_new_event(late, {})))
    homeserver.api.run()
    assert [each[2] for each in told(homeserver)] == ["join", "ban"]


@pytest.mark.parametrize(
    "event",
    [
        is_member("@a:s", "gone"),
        Event(MEMBER, {}, "@a:s"),
        Event(MEMBER, {"membership": ["ban"]}, "@a:s"),
        Event(MEMBER, {"membership": "ban"}, None),
        is_member("@" + "a" * 300, "ban"),
        is_member("@a:s", "ban", room="x"),
    ],
)
def test_what_is_no_membership_is_not_pushed(homeserver: Homeserver, event: Event) -> None:
    homeserver.new(event)
    assert homeserver.api.delayed == []


def test_where_that_is_not_wanted_no_membership_is_pushed(module: Any) -> None:
    homeserver = Homeserver(module, config={"members": False})
    homeserver.new(is_member("@a:s", "ban"))
    homeserver.beat()
    assert [push.covers_members for push in homeserver.api.pushes] == [False]


def test_a_membership_waits_for_the_guard_and_no_heartbeat_goes_out(homeserver: Homeserver) -> None:
    homeserver.api.codes = [0, 503]
    homeserver.new(is_member("@a:s", "ban"))
    homeserver.beat()
    assert homeserver.api.tried == 0
    homeserver.api.run()
    assert told(homeserver) == [(ROOM, "@a:s", "ban")]


def gives(user: str, level: int = 50, room: str = ROOM) -> Event:
    """Power levels in which a user has one."""
    return Event(POWER_LEVELS, {"users": {user: level}}, room_id=room)


def test_changed_power_levels_are_pushed_beside_the_rooms_policies(
    homeserver: Homeserver,
) -> None:
    homeserver.new(gives("@a:s"), Event())
    assert homeserver.api.tried == 0, "the event is not held up"
    homeserver.api.run()
    (push,) = homeserver.api.pushes
    assert (push.room, push.changes_power) == (ROOM, True)
    assert policies(push)["limit"] == LimitPolicy(2)
    homeserver.new(Event())
    homeserver.api.run()
    assert not homeserver.api.pushes[1].changes_power


def test_a_policy_that_is_set_meanwhile_does_not_hide_that_power_levels_changed(
    homeserver: Homeserver,
) -> None:
    homeserver.new(gives("@a:s"))
    homeserver.new(Event(content={"max_users": 3}), gives("@a:s"))
    homeserver.api.run()
    (push,) = homeserver.api.pushes
    assert push.changes_power
    assert policies(push)["limit"] == LimitPolicy(3)


def test_policies_too_long_for_a_push_do_not_hide_it_either(homeserver: Homeserver) -> None:
    """Else whoever is about to lose their power could keep the guard from hearing of it."""
    long = Event(content={"max_users": 2, "note": "x" * MOST_PUSH})
    homeserver.new(gives("@a:s", 0), long)
    homeserver.new(gives("@b:s", room="!other:s"))
    homeserver.new(Event(content=long.content, room_id="!other:s"))
    homeserver.api.run()
    told = [(push.room, push.changes_power, push.readings) for push in homeserver.api.pushes]
    assert told == [(ROOM, True, {}), ("!other:s", True, {})]


def test_power_levels_under_another_key_are_none(homeserver: Homeserver) -> None:
    homeserver.new(Event(POWER_LEVELS, {}, "@a:s"))
    assert homeserver.api.delayed == []


@pytest.mark.parametrize("members", [True, False])
def test_a_heartbeat_says_that_power_levels_are_covered(module: Any, members: bool) -> None:
    homeserver = Homeserver(module, config={"members": members})
    homeserver.beat()
    (push,) = homeserver.api.pushes
    assert (push.covers_power, push.covers_members, push.is_complete) == (True, members, True)


NEW = "!new:s"


def upgrades(sender: str = "@a:s", new: Any = NEW) -> Event:
    return Event("m.room.tombstone", {"replacement_room": new}, sender=sender)


def creates(old: Any = ROOM, sender: str = "@a:s") -> Event:
    return Event(CREATE, {"predecessor": {"room_id": old}}, sender=sender, room_id=NEW)


@pytest.fixture
def carrying(module: Any) -> Homeserver:
    """A module that carries policies over, and a new room without any."""
    homeserver = Homeserver(module, config={"carry_over": True})
    homeserver.api.states[NEW] = {(CREATE, ""): creates()}
    return homeserver


POLICIES = (Event(), Event(SOURCES_EVENT, {"allow_camera": False, "note": "x"}))


def test_the_policies_of_a_room_go_along_when_it_is_upgraded(carrying: Homeserver) -> None:
    carrying.new(upgrades(), *POLICIES)
    assert carrying.api.looked_at == [], "the event is not held up"
    carrying.api.run()
    same = {"state_key": "", "room_id": NEW, "sender": "@a:s"}
    assert carrying.api.sent == [
        {"type": LIMIT_EVENT, "content": {"max_users": 2}, **same},
        {"type": SOURCES_EVENT, "content": {"allow_camera": False, "note": "x"}, **same},
    ]
    assert carrying.api.looked_at == [(NEW, [(CREATE, ""), (LIMIT_EVENT, ""), (SOURCES_EVENT, "")])]


@pytest.mark.parametrize(
    ("event", "others"),
    [
        (upgrades(), ()),
        (upgrades(), (Event(content={}),)),
        (upgrades("@a:elsewhere"), POLICIES),
        (upgrades(new=7), POLICIES),
        (upgrades(new="!new:s\nforged"), POLICIES),
        (Event("m.room.tombstone", {}), POLICIES),
        (Event("m.room.tombstone", {"replacement_room": NEW}, state_key="x"), POLICIES),
        (Event("m.room.name", {}), POLICIES),
    ],
)
def test_else_nothing_is_carried_over(
    carrying: Homeserver, event: Event, others: tuple[Event, ...]
) -> None:
    carrying.new(event, *others)
    assert carrying.api.delayed == []


def test_by_default_nothing_is_carried_over(homeserver: Homeserver) -> None:
    homeserver.new(upgrades(), *POLICIES)
    assert homeserver.api.delayed == []


@pytest.mark.parametrize(
    "state",
    [
        {},
        {(CREATE, ""): creates("!another:s")},
        {(CREATE, ""): creates(sender="@b:s")},
        {(CREATE, ""): Event(CREATE, {"predecessor": 3})},
        {(CREATE, ""): creates(), (SOURCES_EVENT, ""): Event(SOURCES_EVENT, {})},
    ],
)
def test_a_room_that_is_no_successor_or_has_a_policy_is_left_alone(
    carrying: Homeserver, state: Any
) -> None:
    carrying.api.states[NEW] = state
    carrying.new(upgrades(), *POLICIES)
    carrying.api.run()
    assert carrying.api.sent == []


def test_what_may_not_be_set_is_logged_and_the_rest_is_set(
    carrying: Homeserver, caplog: pytest.LogCaptureFixture
) -> None:
    carrying.api.forbidden = frozenset({LIMIT_EVENT})
    carrying.new(upgrades(), *POLICIES)
    carrying.new(upgrades(new="!nowhere:s"), *POLICIES)
    carrying.api.run()
    assert [each["type"] for each in carrying.api.sent] == [SOURCES_EVENT]
    assert f"Could not carry {LIMIT_EVENT} over to {NEW}: not enough power" in caplog.text
    assert f"Could not carry the policies of {ROOM} over to !nowhere:s" in caplog.text


SENSELESS = {"max_users": "two"}


def test_a_senseless_policy_of_our_own_user_is_refused_with_the_reason(
    homeserver: Homeserver,
) -> None:
    failure = result(
        ensureDeferred(homeserver.made.check_event_allowed(Event(content=SENSELESS), {}))
    )
    assert failure.check(SynapseError)
    assert (failure.value.code, failure.value.errcode) == (400, "M_BAD_JSON")
    assert failure.value.msg.startswith("io.lotus.voice_limit: max_users is 'two'")


class Doubtful(Limit):
    """A limit that only somebody above the level 60 understands."""

    def doubts(self, policy: LimitPolicy, power: PowerLevels) -> tuple[str, ...]:
        return () if power.of("@a:s") > 60 else ("no sense in this room",)


@pytest.mark.parametrize(
    ("levels", "version", "is_refused"),
    [
        ({"users": {"@a:s": 61}}, "11", False),
        ({"users": {"@a:s": 60}}, "11", True),
        (None, "11", False),
        ({}, "11", True),
        ({}, "12", False),
    ],
)
def test_a_policy_may_be_senseless_only_with_the_rooms_power_levels(
    module: Any, levels: Any, version: str, is_refused: bool
) -> None:
    """As Synapse hands them over: contents are mappings, and no dicts."""
    made = module.LotusGuardModule(module.Settings(URL, SECRET), Api(), (Doubtful(),))
    frozen = MappingProxyType
    state = {(CREATE, ""): Event(CREATE, frozen({"room_version": version}))}
    if levels is not None:
        state[POWER_LEVELS, ""] = Event(POWER_LEVELS, frozen(levels))
    found = result(ensureDeferred(made.check_event_allowed(Event(), state)))
    if is_refused:
        assert found.check(SynapseError)
        assert found.value.msg == "no sense in this room"
    else:
        assert found == (True, None)


@pytest.mark.parametrize(
    "event",
    [
        Event(),
        Event(content={}),
        Event(content=SENSELESS, sender="@a:elsewhere"),
        Event(content=SENSELESS, state_key="@a:s"),
        Event(content=SENSELESS, state_key=None),
        Event("m.room.name", SENSELESS),
    ],
)
def test_everything_else_is_allowed(homeserver: Homeserver, event: Event) -> None:
    assert homeserver.is_allowed(event) == (True, None)


def test_where_that_is_not_wanted_nothing_is_refused(module: Any) -> None:
    homeserver = Homeserver(module, config={"reject_senseless": False})
    assert homeserver.is_allowed(Event(content=SENSELESS)) == (True, None)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"guard_url": "127.0.0.1:8072"}, "guard_url must be http://host:port"),
        ({"guard_url": None}, "guard_url must be"),
        ({"guard_url": "http://"}, "has no host"),
        ({"guard_url": "http://127.0.0.1:x"}, "port that is not valid"),
        ({"guard_url": f"http://me:{SECRET}@127.0.0.1:8072"}, "has a user name"),
        ({"push_secret": "short"}, "must have 16 or more characters"),
        ({"push_secret": None}, "must have 16 or more characters"),
        ({"push_secret_path": "/nowhere"}, "cannot read push_secret_path"),
        ({"reject_senseless": "no"}, "reject_senseless must be true or false"),
        ({"members": 1}, "members must be true or false"),
        ({"carry_over": "yes"}, "carry_over must be true or false"),
        ({"guard_uri": URL}, "unknown settings guard_uri"),
    ],
)
def test_a_wrong_configuration_says_what_is_wanted(
    module: Any, config: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(ConfigError, match=wanted) as caught:
        Homeserver(module, config=config)
    assert SECRET not in caught.value.msg


def test_the_secret_is_shown_nowhere(homeserver: Homeserver) -> None:
    settings = homeserver.module.LotusGuardModule.parse_config(
        {"guard_url": URL, "push_secret": SECRET}
    )
    assert SECRET not in repr(settings)


def test_of_an_event_of_several_rules_all_are_told_and_each_may_complain(
    homeserver: Homeserver,
) -> None:
    content = {"allow_camera": "no", "max_cameras": 0}
    asked = homeserver.made.check_event_allowed(Event(SOURCES_EVENT, content), {})
    failure = result(ensureDeferred(asked))
    assert failure.check(SynapseError)
    assert "allow_camera is 'no'" in failure.value.msg
    assert "max_cameras is 0" in failure.value.msg
    homeserver.new(Event(SOURCES_EVENT, {"max_cameras": 3}))
    homeserver.api.run()
    (push,) = homeserver.api.pushes
    assert policies(push)["cameras"].max_cameras == 3
    assert not policies(push)["sources"].restricts
    assert push.is_complete
