"""The three parts of the sandbox together, in memory: they speak to each other over HTTP."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, livekit_room_of
from lotus_guard.run.config import read_config
from lotus_guard.sandbox.stack import (
    ADMIN_TOKEN,
    KEY,
    OPEN,
    PEOPLE,
    SECRET,
    TWO,
    VOICE,
    Sandbox,
)
from tests.contract.subject import InMemory, Response
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.sandbox.network import Network


class Stack:
    def __init__(self) -> None:
        network = Network()
        self.sandbox = Sandbox(network, lambda: 1_700_000_000.0)
        self.servers: dict[str, InMemory] = {}
        for address, resource in self.sandbox.resources().items():
            network.add(address, resource)
            self.servers[address] = InMemory(resource)

    def ask(self, body: str) -> Response:
        """Ask the authorization service for a token."""
        address = self.sandbox.addresses.authorization
        return self.servers[address].request("POST", "/sfu/get", body=body.encode())


@pytest.fixture
def stack() -> Stack:
    return Stack()


def body(name: str, room: str = OPEN, token: str | None = None) -> str:
    openid = {"access_token": token or f"openid-{name}", "matrix_server_name": "sandbox"}
    return json.dumps({"room": room, "device_id": "PHONE", "openid_token": openid})


@pytest.mark.parametrize("name", PEOPLE)
def test_everybody_gets_a_token_and_can_join(stack: Stack, name: str) -> None:
    answer = stack.ask(body(name))
    assert answer.status == 200, answer.body
    info = stack.sandbox.sfu.join(answer.json()["jwt"])  # the room was made, over HTTP
    assert info.identity == f"@{name}:sandbox:PHONE"
    assert list(stack.sandbox.sfu.rooms) == [livekit_room_of(RoomId(OPEN), ROOM_SLOT)]


def test_the_homeserver_is_asked_whose_token_it_is(stack: Stack) -> None:
    assert stack.ask(body("alice", token="openid-mallory")).status == 401
    assert stack.sandbox.sfu.rooms == {}


def test_the_sfu_is_down(stack: Stack) -> None:
    stack.sandbox.sfu.secret = "another-secret-of-at-least-32-bytes"
    assert stack.ask(body("alice")).status == 500


def test_rooms_have_the_policies_that_the_welcome_names(stack: Stack) -> None:
    server = stack.servers[stack.sandbox.addresses.synapse]

    def policy(room: str, event_type: str) -> list[Any]:
        path = f"/_synapse/admin/v1/rooms/{quote(room, safe='')}/state?type={event_type}"
        answer = server.request("GET", path, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
        return [event["content"] for event in answer.json()["state"]]

    found = {room: (policy(room, LIMIT_EVENT), policy(room, SOURCES_EVENT)) for room in _ROOMS}
    assert found == {
        OPEN: ([], []),
        TWO: ([{"max_users": 2}], []),
        VOICE: ([], [{"allow_camera": False, "allow_screenshare": False}]),
    }


_ROOMS = (OPEN, TWO, VOICE)


def test_the_environment_is_a_configuration_without_faults(stack: Stack) -> None:
    environment = stack.sandbox.environment()
    config = read_config(environment)
    assert (config.key, config.secret) == (KEY, SECRET)
    assert len(SECRET) >= 32
    assert environment["LOTUS_GUARD_SYNAPSE_TOKEN"] == ADMIN_TOKEN
