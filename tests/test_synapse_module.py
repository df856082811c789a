"""The module in Synapse's process: it tells the guard, holds nothing up, and gives up on nobody."""

import importlib
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from lotus_guard.overload.http_limits import MOST_REQUEST
from lotus_guard.rules import RULES
from lotus_guard.rules.limit import LimitPolicy
from lotus_guard.rules.push import HEADER, MOST_PUSH, Push, read_push
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

    def register_third_party_rules_callbacks(self, **callbacks: Any) -> None:
        self.callbacks = callbacks

    def looping_background_call(self, call: Any, milliseconds: float, desc: str) -> None:
        self.looping.append((call, milliseconds))

    def delayed_background_call(self, milliseconds: float, call: Any, desc: str) -> None:
        self.delayed.append(call)

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
    homeserver: Homeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homeserver.module, "MOST_WAITING", 2)
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
    assert "too long to be pushed" in caplog.text
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
        ({"guard_url": "http://"}, "names no host"),
        ({"guard_url": "http://127.0.0.1:x"}, "a port that is none"),
        ({"guard_url": f"http://me:{SECRET}@127.0.0.1:8072"}, "has a user name"),
        ({"push_secret": "short"}, "must have 16 or more characters"),
        ({"push_secret": None}, "must have 16 or more characters"),
        ({"push_secret_path": "/nowhere"}, "cannot read push_secret_path"),
        ({"reject_senseless": "no"}, "must be true or false"),
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
