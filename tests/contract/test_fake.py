"""The suites on the sandbox's own parts, in memory."""

import itertools
import time
from collections.abc import Callable

import pytest

from lotus_guard.sandbox.authorization import AuthorizationApp
from lotus_guard.sandbox.authorization_state import AuthorizationState, Issuer
from lotus_guard.sandbox.livekit import LiveKitApp
from lotus_guard.sandbox.livekit_state import LiveKitState
from lotus_guard.sandbox.synapse import SynapseApp
from lotus_guard.sandbox.synapse_state import SynapseState
from tests.contract.authorization import AuthorizationContract, AuthorizationSubject
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


class TestLiveKit(LiveKitContract):
    @pytest.fixture
    def subject(self) -> LiveKitSubject:
        state = LiveKitState(KEY, SECRET, time.time, ids())
        return LiveKitSubject(InMemory(LiveKitApp(state).app.resource()), KEY, SECRET)


class TestAuthorization(AuthorizationContract):
    @pytest.fixture
    def subject(self) -> AuthorizationSubject:
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

        async def create_room(_name: str) -> None:
            pass

        state = AuthorizationState(Issuer(KEY, SECRET, "ws://sfu"), userinfo, create_room)
        server = InMemory(AuthorizationApp(state).resource())
        return AuthorizationSubject(server, KEY, SECRET, "ws://sfu", user, openid)
