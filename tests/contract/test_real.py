"""The suites on real servers; LK_JWT_SERVICE names the lk-jwt-service to ask."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.contract.authorization import AuthorizationContract, AuthorizationSubject
from tests.contract.livekit import LiveKitContract, LiveKitSubject
from tests.contract.subject import OverNetwork, Response
from tests.contract.synapse import LIMIT, SynapseContract, SynapseSubject
from tests.real.conftest import require_real
from tests.real.homeserver import Synapse
from tests.real.sfu import KEY, SECRET, LiveKit
from tests.real.stack import authorization

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_real()
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="module")
def synapse(directory: Path) -> Iterator[Synapse]:
    server = Synapse(directory / "synapse")
    server.start()
    yield server
    server.process.stop()


@pytest.fixture(scope="module")
def livekit(directory: Path) -> Iterator[LiveKit]:
    server = LiveKit(directory / "livekit")
    server.start()
    yield server
    server.process.stop()


@pytest.fixture(scope="module")
def base(directory: Path, livekit: LiveKit) -> Iterator[str]:
    process = authorization(directory / "authorization", livekit)
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


class TestLiveKit(LiveKitContract):
    @pytest.fixture
    def subject(self, livekit: LiveKit) -> LiveKitSubject:
        return LiveKitSubject(OverNetwork(livekit.api), KEY, SECRET)


class TestAuthorization(AuthorizationContract):
    """The real service where LK_JWT_SERVICE names it, otherwise the sandbox's as a process."""

    @pytest.fixture
    def subject(self, base: str, livekit: LiveKit, synapse: Synapse) -> AuthorizationSubject:
        user = synapse.register()
        openid = synapse.openid(user)
        return AuthorizationSubject(
            OverNetwork(base), KEY, SECRET, livekit.url, user.user_id, openid
        )
