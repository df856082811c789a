"""The suites on real servers; LK_JWT_SERVICE names the lk-jwt-service to ask, of either generation.

What is asked of the other generation goes to the sandbox's process, and a line says so (`-s`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from lotus_guard.check.upstream_version import GO, RUST
from lotus_guard.core.power import POWER_LEVELS
from tests.contract.authorization import AuthorizationSubject
from tests.contract.authorization_behind import BehindContract, BehindSubject
from tests.contract.authorization_go import GoContract
from tests.contract.authorization_rust import RustContract
from tests.contract.homeserver import (
    AFTER,
    BEFORE,
    PEOPLE,
    POLICY,
    HomeserverContract,
    HomeserverSubject,
)
from tests.contract.homeserver_port import PortContract
from tests.contract.livekit import LiveKitContract, LiveKitSubject
from tests.contract.subject import OverNetwork, Response
from tests.contract.synapse import LIMIT, SynapseContract, SynapseSubject
from tests.real.authorization import authorization
from tests.real.conftest import require_real
from tests.real.dendrite import Dendrite
from tests.real.homeserver import HS_TOKEN, READER_TOKEN, Homeserver, Synapse, User
from tests.real.processes import free_port
from tests.real.sfu import KEY, SECRET, LiveKit

pytestmark = pytest.mark.real
READABLE = "@user.*"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_real()
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="module")
def livekit(directory: Path) -> Iterator[LiveKit]:
    server = LiveKit(directory / "livekit")
    server.start()
    yield server
    server.process.stop()


@pytest.fixture(scope="module")
def service_port() -> int:
    """Where the homeserver hands requests for tokens on to."""
    return free_port()


@pytest.fixture(scope="module")
def synapse(directory: Path, livekit: LiveKit, service_port: int) -> Iterator[Synapse]:
    proxy_url = f"http://127.0.0.1:{service_port}"
    server = Synapse(directory / "synapse", [], proxy_url, livekit.url, readable=READABLE)
    server.start()
    yield server
    server.process.stop()


@pytest.fixture(scope="module")
def dendrite(directory: Path) -> Iterator[Dendrite]:
    server = Dendrite(directory / "dendrite", readable=READABLE)
    server.start()
    yield server
    server.process.stop()


@pytest.fixture(scope="module")
def go(directory: Path, livekit: LiveKit) -> Iterator[str]:
    process = authorization(directory / "go", livekit, generation=GO)
    process.start()
    yield f"http://127.0.0.1:{process.port}"
    process.stop()


@pytest.fixture(scope="module")
def rust(directory: Path, livekit: LiveKit, synapse: Synapse, service_port: int) -> Iterator[str]:
    process = authorization(directory / "rust", livekit, synapse, RUST, service_port)
    process.start()
    yield f"http://127.0.0.1:{process.port}"
    process.stop()


class _Listeners:
    """A homeserver as its users and as other servers reach it: two listeners, one server."""

    def __init__(self, synapse: Synapse) -> None:
        self._clients = OverNetwork(synapse.url)
        self._servers = OverNetwork(f"https://{synapse.name}")

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        federation = path.startswith("/_matrix/federation/")
        server = self._servers if federation else self._clients
        return server.request(method, path, headers, body)


class TestSynapse(SynapseContract):
    @pytest.fixture
    def subject(self, synapse: Synapse) -> Iterator[SynapseSubject]:
        room, shared = synapse.create_room(synapse.admin), synapse.create_room(synapse.admin)
        synapse.set_state(synapse.admin, room, LIMIT, {"max_users": 2})
        user, admin = synapse.register(), synapse.admin
        alias = f"#shared{user.user_id[5:]}"
        path = f"/_matrix/client/v3/directory/room/{quote(alias, safe='')}"
        synapse.call("PUT", path, admin.access_token, {"room_id": shared})
        synapse.join(user, shared)
        yield SynapseSubject(
            _Listeners(synapse),
            room,
            admin.user_id,
            admin.access_token,
            user.user_id,
            user.access_token,
            shared,
            alias,
            lambda: synapse.slow_down(admin, 1),
        )
        synapse.slow_down(admin, 0)


@pytest.fixture(scope="module")
def furnished_synapse(synapse: Synapse) -> HomeserverSubject:
    return furnished(synapse, "synapse")


@pytest.fixture(scope="module")
def furnished_dendrite(dendrite: Dendrite) -> HomeserverSubject:
    return furnished(dendrite, "dendrite")


class TestSynapseAsAnyHomeserver(HomeserverContract, PortContract):
    @pytest.fixture
    def subject(self, furnished_synapse: HomeserverSubject) -> HomeserverSubject:
        return furnished_synapse


class TestDendrite(HomeserverContract, PortContract):
    @pytest.fixture
    def subject(self, furnished_dendrite: HomeserverSubject) -> HomeserverSubject:
        return furnished_dendrite


def furnished(server: Homeserver, name: str) -> HomeserverSubject:
    """Make the rooms and users that the suite wants."""
    admin = server.admin
    users = {who: server.register(f"user-{who}") for who in PEOPLE if who != "hidden"}
    users["hidden"] = server.register("hidden")
    room, world, restricted = (server.create_room(admin) for _ in range(3))
    server.set_state(
        admin, world, "m.room.history_visibility", {"history_visibility": "world_readable"}
    )
    server.set_state(admin, world, POLICY, AFTER)
    server.join(users["joined"], restricted)
    allowed = [{"type": "m.room_membership", "room_id": room}]
    rules = {"join_rule": "restricted", "allow": allowed}
    server.set_state(admin, restricted, "m.room.join_rules", rules)
    server.set_state(admin, room, POLICY, BEFORE)
    come_and_go(server, users, room)
    server.set_state(admin, room, POLICY, AFTER)
    return HomeserverSubject(
        server=OverNetwork(server.url),
        name=name,
        server_name=server.name,
        token=READER_TOKEN,
        sender=f"@_reader:{server.name}",
        admin_token=admin.access_token,
        admin=admin.user_id,
        people={who: user.user_id for who, user in users.items()},
        room=room,
        world=world,
        restricted=restricted,
        made=rooms_with_levels(server, users["joined"]),
    )


def rooms_with_levels(server: Homeserver, joined: User) -> dict[int, str]:
    """Make a room of each version that the homeserver has, with power levels."""
    is_dendrite = isinstance(server, Dendrite)
    admin, made = server.admin, {}
    for version in (9, 10, 11) if is_dendrite else (10, 11, 12):
        room = made[version] = server.create_room(admin, str(version))
        server.join(joined, room)
        level: object = " 50" if version < 10 else 50
        above = {admin.user_id: 100} if version < 12 else {}
        users = {joined.user_id: level, **above}
        levels = {"users": users, "events": {POLICY: 60}}
        assert server.set_state(admin, room, POWER_LEVELS, levels).status == 200
    return made


def come_and_go(server: Homeserver, users: Mapping[str, User], room: str) -> None:
    """Have everybody do what their name says."""
    admin = server.admin
    for who in ("joined", "left", "kicked", "banned", "gone", "hidden"):
        server.join(users[who], room)
    server.membership(users["left"], room, "leave")
    server.membership(admin, room, "kick", users["kicked"])
    server.membership(admin, room, "ban", users["banned"])
    server.membership(admin, room, "invite", users["invited"])
    server.set_state(admin, room, "m.room.join_rules", {"join_rule": "knock"})
    if not isinstance(server, Dendrite):  # which does not know this question
        server.membership(users["knocking"], room, "knock")
    server.deactivate(users["gone"])


class TestLiveKit(LiveKitContract):
    @pytest.fixture
    def subject(self, livekit: LiveKit) -> LiveKitSubject:
        return LiveKitSubject(OverNetwork(livekit.api), KEY, SECRET)


def authorization_subject(base: str, livekit: LiveKit, synapse: Synapse) -> AuthorizationSubject:
    user = synapse.register()
    openid = synapse.openid(user)
    return AuthorizationSubject(OverNetwork(base), KEY, SECRET, livekit.url, user.user_id, openid)


class TestGo(GoContract):
    """The real service where LK_JWT_SERVICE is in Go, otherwise the sandbox's as a process."""

    @pytest.fixture
    def subject(self, go: str, livekit: LiveKit, synapse: Synapse) -> AuthorizationSubject:
        return authorization_subject(go, livekit, synapse)


class TestRust(RustContract):
    """The real service where LK_JWT_SERVICE is in Rust, otherwise the sandbox's as a process."""

    @pytest.fixture
    def subject(self, rust: str, livekit: LiveKit, synapse: Synapse) -> AuthorizationSubject:
        return authorization_subject(rust, livekit, synapse)


class TestBehind(BehindContract):
    """Behind a real Synapse, the same service as in TestRust."""

    @pytest.fixture(scope="class")
    def users(self, synapse: Synapse) -> tuple[User, User]:
        return synapse.register(), synapse.register()

    @pytest.fixture(scope="class")
    def room(self, synapse: Synapse, users: tuple[User, User]) -> str:
        return synapse.create_room(users[0])

    @pytest.fixture
    def subject(
        self, rust: str, livekit: LiveKit, synapse: Synapse, users: tuple[User, User], room: str
    ) -> BehindSubject:
        return BehindSubject(
            service=OverNetwork(rust),
            homeserver=OverNetwork(synapse.url),
            hs_token=HS_TOKEN,
            server_name=synapse.name,
            key=KEY,
            secret=SECRET,
            livekit_url=livekit.url,
            room=room,
            user=users[0].user_id,
            access_token=users[0].access_token,
            stranger=users[1].user_id,
        )
