"""How the authorization service asks a homeserver and the SFU."""

import json
import time
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.web.resource import Resource

from lotus_guard.core.homeserver_wire import FEDERATION_PATHS
from lotus_guard.sandbox.authorization_clients import (
    ask_server_over,
    federation_base,
    room_maker,
    userinfo_over,
)
from lotus_guard.sandbox.livekit import LiveKitApp
from lotus_guard.sandbox.synapse import SynapseApp
from lotus_guard.sandbox.synapse_state import SynapseState
from tests.sandbox.network import Network
from tests.sandbox.sfu import KEY, SECRET, Sfu
from tests.sandbox.token_service import SERVER, USER


@pytest.mark.parametrize(
    ("server", "base"),
    [
        ("example.com", "https://example.com:8448"),
        ("localhost:34583", "https://localhost:34583"),
        ("[::1]", "https://[::1]:8448"),
        ("[::1]:80", "https://[::1]:80"),
    ],
)
def test_where_a_homeserver_is_asked(server: str, base: str) -> None:
    assert federation_base(server) == base


@ensureDeferred
async def test_a_homeserver_says_whose_token_it_is() -> None:
    network, state = Network(), SynapseState(lambda: "1")
    state.openid["t/?&"] = USER
    network.add("http://hs", SynapseApp(state).app.resource())
    userinfo = userinfo_over(network, lambda server: {SERVER: "http://hs"}[server])
    assert await userinfo(SERVER, "t/?&") == USER
    with pytest.raises(KeyError):
        await userinfo(SERVER, "another")
    with pytest.raises(KeyError):
        await userinfo("elsewhere", "t/?&")


@ensureDeferred
async def test_the_sfu_makes_a_room_for_its_own_key(sfu: Sfu) -> None:
    network = Network()
    network.add("http://sfu", LiveKitApp(sfu.state).app.resource())
    sfu.now = time.time()
    await room_maker(network, "http://sfu", KEY, SECRET)("made")
    assert sfu.state.room("made").departure_timeout == 20
    with pytest.raises(RuntimeError, match="401"):
        await room_maker(network, "http://sfu", KEY, SECRET[::-1])("not made")
    assert "not made" not in sfu.state.rooms


class FedProxy(Resource):
    """A homeserver that notes what it is to ask another one, and for whom."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[bytes, str | None, Any]] = []

    def render_POST(self, request: Any) -> bytes:
        sent = json.loads(request.content.read())
        self.asked.append((request.path, request.getHeader("Authorization"), sent))
        return b'{"status": 403, "content": {"errcode": "M_FORBIDDEN"}}'


@ensureDeferred
async def test_our_homeserver_asks_another_one() -> None:
    network, homeserver = Network(), FedProxy()
    network.add("http://hs", homeserver)
    ask_server = ask_server_over(network, "http://hs", "as")
    assert await ask_server("other:1", {"room_id": "!a"}) == (403, {"errcode": "M_FORBIDDEN"})
    ((path, bearer, sent),) = homeserver.asked
    assert path == b"/_matrix/client/unstable/io.element.msc4512/appservice/fed_proxy"
    assert bearer == "Bearer as"
    assert sent == {
        "destination": "other:1",
        "method": "POST",
        "path": FEDERATION_PATHS[1],
        "body": {"room_id": "!a"},
    }
