"""The suites on the sandbox's own parts, in memory."""

import itertools
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

import pytest

from lotus_guard.sandbox.acting import ApplicationService
from lotus_guard.sandbox.authorization import AuthorizationApp
from lotus_guard.sandbox.authorization_state import AppService, AuthorizationState, Issuer
from lotus_guard.sandbox.generation import GO, RUST, Generation
from lotus_guard.sandbox.livekit import LiveKitApp
from lotus_guard.sandbox.livekit_state import LiveKitState
from lotus_guard.sandbox.synapse import SynapseApp
from lotus_guard.sandbox.synapse_state import HandedOn, HandOn, Proxy, SynapseState
from lotus_guard.sandbox.temper import TEMPERS
from tests.contract.authorization import AuthorizationSubject
from tests.contract.authorization_behind import BehindContract, BehindSubject
from tests.contract.authorization_go import GoContract
from tests.contract.authorization_rust import RustContract
from tests.contract.homeserver import (
    AFTER,
    BEFORE,
    FOUR,
    PEOPLE,
    POLICY,
    HomeserverContract,
    HomeserverSubject,
)
from tests.contract.homeserver_port import PortContract
from tests.contract.livekit import LiveKitContract, LiveKitSubject
from tests.contract.subject import InMemory
from tests.contract.synapse import LIMIT, SynapseContract, SynapseSubject

KEY, SECRET = "key", "a-secret-for-tests-of-32-bytes-or-more"


def ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"{next(numbers):08d}"


class TestSynapse(SynapseContract):
    @pytest.fixture
    def subject(self) -> SynapseSubject:
        state = SynapseState(ids())
        state.add_account("@admin:s", "admin-token", admin=True)
        state.add_account("@user:s", "user-token")
        for room in ("!room:s", "!shared:s"):
            state.add_room(room, "@admin:s")
        state.set_state("!room:s", LIMIT, {"max_users": 2}, sender="@admin:s")
        server = InMemory(SynapseApp(state).app.resource())
        state.join("!shared:s", "@user:s")
        state.set_state("!shared:s", "m.room.power_levels", {"users": {"@admin:s": 100}})
        state.aliases["#shared:s"] = "!shared:s"
        return SynapseSubject(
            server,
            "!room:s",
            "@admin:s",
            "admin-token",
            "@user:s",
            "user-token",
            "!shared:s",
            "#shared:s",
            lambda: state.waits.append(1000),
        )


class TestHomeserver(HomeserverContract, PortContract):
    """In each temper."""

    @pytest.fixture(params=FOUR)
    def subject(self, request: pytest.FixtureRequest) -> HomeserverSubject:
        state = SynapseState(ids(), TEMPERS[request.param])
        people = {who: f"@user-{who}:s" for who in PEOPLE} | {"hidden": "@hidden:s"}
        furnish(state, people)
        return HomeserverSubject(
            server=InMemory(SynapseApp(state).app.resource()),
            name=request.param,
            server_name="s",
            token="reads",
            sender="@_reader:s",
            admin_token="admin-token",
            admin="@admin:s",
            people=people,
            room="!room:s",
            world="!world:s",
            restricted="!restricted:s",
            made=MADE,
        )


MADE = {version: f"!made{version}:s" for version in (9, 10, 11, 12)}


def furnish(state: SynapseState, people: Mapping[str, str]) -> None:
    """Make the rooms and users that the suite wants."""
    state.services.append(ApplicationService("reads", "@_reader:s", "@user.*"))
    state.add_account("@admin:s", "admin-token", admin=True)
    for who, user in people.items():
        state.add_account(user, f"{who}-token")
    for room in ("!room:s", "!world:s", "!restricted:s"):
        state.add_room(room, "@admin:s")
    state.join("!restricted:s", people["joined"])
    readable = {"history_visibility": "world_readable"}
    state.set_state("!world:s", "m.room.history_visibility", readable)
    state.set_state("!world:s", POLICY, AFTER)
    state.set_state("!room:s", POLICY, BEFORE)
    for who in ("joined", "left", "kicked", "banned", "gone", "hidden"):
        state.join("!room:s", people[who])
    for who, membership in (("left", "leave"), ("kicked", "leave"), ("banned", "ban")):
        state.set_membership("!room:s", people[who], membership)
    state.set_membership("!room:s", people["invited"], "invite", "@admin:s")
    if state.temper.has_knocks:
        state.set_membership("!room:s", people["knocking"], "knock")
    state.deactivate(people["gone"])
    state.set_state("!room:s", POLICY, AFTER)
    for version, room in MADE.items():
        state.add_room(room, "@admin:s", version)
        state.join(room, people["joined"])
        levels = {people["joined"]: " 50" if version < 10 else 50}
        above = {"@admin:s": 100} if version < 12 else {}
        state.set_power(room, {**levels, **above}, events={POLICY: 60})


class TestLiveKit(LiveKitContract):
    @pytest.fixture
    def subject(self) -> LiveKitSubject:
        state = LiveKitState(KEY, SECRET, time.time, ids())
        return LiveKitSubject(InMemory(LiveKitApp(state).app.resource()), KEY, SECRET)


def authorization(generation: Generation) -> AuthorizationSubject:
    openid = {
        "access_token": "openid-user",
        "token_type": "Bearer",
        "matrix_server_name": "localhost:8448",
        "expires_in": 3600,
    }
    user = "@user:localhost:8448"
    known = {("localhost:8448", "openid-user"): user}

    async def userinfo(server: str, token: str) -> str:
        return known[server, token]

    issuer = Issuer(KEY, SECRET, "ws://sfu")
    state = AuthorizationState(issuer, userinfo, _create_room, generation=generation)
    server = InMemory(AuthorizationApp(state).resource())
    return AuthorizationSubject(server, KEY, SECRET, "ws://sfu", user, openid)


async def _create_room(_name: str) -> None:
    pass


class TestGo(GoContract):
    @pytest.fixture
    def subject(self) -> AuthorizationSubject:
        return authorization(GO)


class TestRust(RustContract):
    @pytest.fixture
    def subject(self) -> AuthorizationSubject:
        return authorization(RUST)


class TestBehind(BehindContract):
    """The service and the homeserver in memory, each of which asks the other."""

    @pytest.fixture
    def subject(self) -> BehindSubject:
        state = SynapseState(ids())
        state.add_account("@user:s", "user-token")
        state.add_account("@stranger:s", "stranger-token")
        state.add_room("!room:s", "@user:s")
        homeserver = InMemory(SynapseApp(state).app.resource())
        service = InMemory(AuthorizationApp(_behind(homeserver)).resource())
        state.proxy = Proxy("http://service", "hs", "as", _to(service))
        return BehindSubject(
            service=service,
            homeserver=homeserver,
            hs_token="hs",
            server_name="s",
            key=KEY,
            secret=SECRET,
            livekit_url="ws://sfu",
            room="!room:s",
            user="@user:s",
            access_token="user-token",
            stranger="@stranger:s",
        )


def _behind(homeserver: InMemory) -> AuthorizationState:
    """An authorization service behind this homeserver."""

    async def is_joined(room: str, who: str) -> bool:
        name = "mxid" if who.startswith("@") else "server_name"
        path = f"/_matrix/client/unstable/io.element.msc4502/rooms/{quote(room)}/is_joined"
        headers = {"Authorization": "Bearer as"}
        answer = homeserver.request("GET", f"{path}?{name}={quote(who)}", headers)
        return bool(answer.json()["joined"])

    return AuthorizationState(
        Issuer(KEY, SECRET, "ws://sfu"),
        _nobody,
        _create_room,
        generation=RUST,
        behind=AppService("hs", "s", is_joined),
    )


def _to(service: InMemory) -> HandOn:
    """How the homeserver hands requests on."""

    async def hand_on(
        method: bytes, url: bytes, headers: dict[bytes, bytes], body: bytes
    ) -> HandedOn:
        path = url.decode().removeprefix("http://service")
        sent = {name.decode(): value.decode() for name, value in headers.items()}
        answer = service.request(method.decode(), path, sent, body)
        back = {name.encode(): [value.encode()] for name, value in answer.headers.items()}
        return HandedOn(answer.status, back, answer.body)

    return hand_on


async def _nobody(_server: str, _token: str) -> str:
    raise KeyError("nobody is known")
