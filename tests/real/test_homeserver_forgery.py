"""What reaches the guard's port for the homeserver from somebody who is no homeserver, or odd."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from attrs import define

from lotus_guard.core.homeserver_wire import CLIENT_PATHS, FEDERATION_PATHS
from tests.real.by_homeserver import ask, fields_of, members
from tests.real.conftest import require_real
from tests.real.homeserver import HS_TOKEN, User
from tests.real.processes import Answer
from tests.real.stack import Behind, Stack, running_stack

CLIENT, FEDERATION = CLIENT_PATHS[1], FEDERATION_PATHS[1]
BEARER = ("Authorization", f"Bearer {HS_TOKEN}")
USER, ORIGIN = "X-Matrix-User-Identifier", "X-Matrix-Origin"
Headers = list[tuple[str, str]]
MOST = 2**16
"""More than the guard takes of a body, and less than lk-jwt-service does."""


def send(port: int, path: str, headers: Headers, body: bytes, in_chunks: bool = False) -> Answer:
    """Send headers as often, and spelt, as they stand here."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30.0)
    try:
        connection.putrequest("POST", path)
        for name, value in headers:
            connection.putheader(name, value)
        if in_chunks:
            connection.putheader("Transfer-Encoding", "chunked")
            parts = iter([body[:7], body[7:]])
            connection.endheaders(parts, encode_chunked=True)
        else:
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


@define(eq=False)
class Port:
    """The guard's port for the homeserver, and a room for two with alice in it, and bob outside."""

    stack: Stack
    room: str
    alice: User
    bob: User

    def send(self, headers: Headers, path: str = CLIENT, body: object = None) -> Answer:
        wanted = fields_of(self.stack, self.room) if body is None else body
        sent = wanted if isinstance(wanted, bytes) else json.dumps(wanted).encode()
        return send(self.stack.homeserver_port, path, headers, sent)

    def as_alice(self, body: object, path: str = CLIENT) -> Answer:
        """Ask as the homeserver does for alice, who may have a token."""
        return self.send([BEARER, (USER, self.alice.user_id)], path, body)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    require_real()
    with running_stack(tmp_path_factory.mktemp("forgery"), behind=Behind()) as stack:
        room = stack.room(limit={"max_users": 2})
        alice, bob = members(stack, room, 2)
        yield Port(stack, room, alice, bob)


def has_token(answer: Answer) -> bool:
    return b"eyJ" in answer.body


def test_a_request_as_synapse_writes_it_gets_a_token(port: Port) -> None:
    for name in (USER, USER.lower(), USER.upper()):
        answer = port.send([BEARER, (name, port.alice.user_id)])
        assert (answer.status, has_token(answer)) == (200, True), name
    sent = json.dumps(fields_of(port.stack, port.room)).encode()
    headers = [BEARER, (USER, port.alice.user_id)]
    answer = send(port.stack.homeserver_port, CLIENT, headers, sent, in_chunks=True)
    assert (answer.status, has_token(answer)) == (200, True)


@pytest.mark.parametrize(
    ("headers", "errcode"),
    [
        ([], "M_MISSING_TOKEN"),
        ([("Authorization", "Bearer wrong")], "M_UNKNOWN_TOKEN"),
        ([("Authorization", f"Bearer {HS_TOKEN}x")], "M_UNKNOWN_TOKEN"),
        ([("Authorization", f"Basic {HS_TOKEN}")], "M_MISSING_TOKEN"),
        ([("Authorization", HS_TOKEN)], "M_MISSING_TOKEN"),
        ([BEARER, ("Authorization", "Bearer wrong")], "M_UNKNOWN_TOKEN"),
        ([("Authorization", "Bearer wrong"), BEARER], "M_UNKNOWN_TOKEN"),
        ([("X-Authorization", f"Bearer {HS_TOKEN}")], "M_MISSING_TOKEN"),
    ],
)
def test_without_the_homeservers_token_nobody_asks(
    port: Port, headers: Headers, errcode: str
) -> None:
    named = [*headers, (USER, port.alice.user_id)]
    for path in (CLIENT, f"{CLIENT}?access_token={HS_TOKEN}", "/healthz", "/get_token"):
        answer = port.send(named, path)
        assert (answer.status, answer.json()["errcode"]) == (401, errcode), path
    assert HS_TOKEN not in port.stack.guard.process.text()


@pytest.mark.parametrize(
    "names",
    [
        [],
        [(USER, "alice"), (USER, "bob")],
        [(USER, "bob"), (USER, "alice")],
        [(USER, "alice"), (USER, "alice")],
        [(USER, "alice"), (USER.lower(), "bob")],
        [(USER, "alice"), (USER.replace("-", "_"), "bob")],
        [(USER.replace("-", "_"), "bob"), (USER, "alice")],
        [(USER, "alice"), ("X-Matrix_User-Identifier", "bob")],
        [(USER, "alice"), (f"{USER} ", "bob")],
        [(USER, "alice"), (ORIGIN, "server")],
        [(USER, "alice"), (ORIGIN.replace("-", "_"), "server")],
        [(ORIGIN, "server"), (ORIGIN, "server")],
        [(USER, "")],
        [(ORIGIN, "")],
        [(USER, "alice"), (USER, "")],
    ],
)
@pytest.mark.parametrize("path", [CLIENT, FEDERATION])
def test_who_asks_is_named_once_and_as_the_way_wants(port: Port, names: Headers, path: str) -> None:
    known = {
        "alice": port.alice.user_id,
        "bob": port.bob.user_id,
        "server": port.stack.synapse.name,
    }
    headers = [BEARER, *((name, known.get(who, who)) for name, who in names)]
    fields = fields_of(port.stack, port.room)
    if path == FEDERATION:
        fields["user_id"] = port.alice.user_id
    answer = port.send(headers, path, fields)
    assert answer.status == 400, answer.body
    assert not has_token(answer)


def test_a_users_way_is_for_users_and_a_servers_for_servers(port: Port) -> None:
    fields = fields_of(port.stack, port.room, user_id=port.alice.user_id)
    as_server = [BEARER, (ORIGIN, port.stack.synapse.name)]
    assert has_token(port.send(as_server, FEDERATION, fields)), "as Synapse writes it"
    for headers, path in ((as_server, CLIENT), ([BEARER, (USER, port.alice.user_id)], FEDERATION)):
        assert port.send(headers, path, fields).status == 400
    assert port.send([BEARER, (USER, port.stack.synapse.name)]).status == 400


def test_a_header_in_another_spelling_names_nobody_to_lk_jwt_service(port: Port) -> None:
    for name in (USER.replace("-", "_"), "X-Matrix_User-Identifier"):
        answer = port.send([BEARER, (name, port.alice.user_id)])
        assert answer.status >= 400
        assert not has_token(answer)
    two = f"{port.alice.user_id}, {port.bob.user_id}"
    assert not has_token(port.send([BEARER, (USER, two)]))


def test_an_array_of_values_is_a_body_to_lk_jwt_service_and_none_to_the_guard(port: Port) -> None:
    fields = fields_of(port.stack, port.room)
    order = ("server_name", "url", "room_id", "slot_id", "member_id")
    # The sandbox's order is another one: it has `server_name` at the end.
    bodies = [[fields.get(name, "") for name in order], list(fields.values())]
    headers = [BEARER, (USER, port.alice.user_id)]
    read = [
        send(port.stack.upstream.port, CLIENT, headers, json.dumps(body).encode()).status
        for body in bodies
    ]
    assert 200 in read, "lk-jwt-service reads one of them"
    for body in bodies:
        answer = port.as_alice(body)
        assert answer.status == 400
        assert not has_token(answer)
        assert port.stack.synapse.call("POST", CLIENT, port.alice.access_token, body).status == 400


def test_odd_bodies_get_no_token(port: Port) -> None:
    fields: dict[str, Any] = fields_of(port.stack, port.room)
    whole = json.dumps(fields).encode()
    other = port.stack.room()
    port.stack.synapse.join(port.alice, other)
    odd: list[object] = [
        b"",
        b"null",
        b"[]",
        b'"x"',
        whole + b"{}",
        whole[:-1] + b', "room_id": "' + other.encode() + b'"}',
        whole[:-1] + b', "Room_Id": "' + other.encode() + b'"}',
        b"\xef\xbb\xbf" + whole,
        whole.replace(b'"m1"', b'"\xff"'),
        whole.replace(b'"m1"', b'"\\ud800"'),
        {**fields, "room_id": None},
        {**fields, "room_id": [port.room]},
        {**fields, "member_id": {"id": "m1"}},
        {**fields, "user_id": port.bob.user_id},
        {name: value for name, value in fields.items() if name != "room_id"},
    ]
    for body in odd:
        answer = port.as_alice(body)
        assert answer.status == 400, (body, answer.body)
        assert not has_token(answer)


def test_bodies_of_any_length_are_bounded(port: Port) -> None:
    fields = json.dumps(fields_of(port.stack, port.room)).encode()
    body = fields + b" " * (MOST - len(fields) + 1)
    headers = [BEARER, (USER, port.alice.user_id)]
    for in_chunks in (False, True):
        answer = send(port.stack.homeserver_port, CLIENT, headers, body, in_chunks)
        assert answer.status == 413, in_chunks
        assert not has_token(answer)
    assert port.as_alice(None).status == 200


def test_no_other_spelling_of_the_path_leads_past_the_limit(port: Port) -> None:
    stack = port.stack
    room = stack.room(limit={"max_users": 1})
    for user in (port.alice, port.bob):
        stack.synapse.join(user, room)
    assert ask(stack, port.alice, room).status == 200
    fields = fields_of(stack, room)
    start, _, end = CLIENT.rpartition("/")
    paths = [
        CLIENT,
        f"/{CLIENT}",
        f"{CLIENT}/",
        f"{CLIENT}?x=y",
        f"{CLIENT};x",
        f"{start}//{end}",
        f"{start}/./{end}",
        f"{start}/x/../{end}",
        f"{start}/get%5Ftoken",
        CLIENT.replace("_matrix", "%5Fmatrix"),
        CLIENT.replace("io.element.msc4195", "io.element%2Emsc4195"),
        CLIENT.upper(),
        f"http://127.0.0.1{CLIENT}",
    ]
    for path in paths:
        answer = port.send([BEARER, (USER, port.bob.user_id)], path, fields)
        assert answer.status >= 300, path
        assert not has_token(answer)
        assert ask(stack, port.bob, room, path if path.startswith("/") else CLIENT).status >= 300
