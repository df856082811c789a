"""The requests of the load are ones that the guard reads, for tokens that are theirs."""

from collections import Counter
from pathlib import Path

import pytest

from bench.cells import CELLS
from bench.traffic import (
    DOORS,
    FULL,
    HOMESERVER,
    KEY,
    KINDS,
    PUBLIC,
    SECRET,
    Ask,
    Table,
    write_script,
)
from lotus_guard.core.homeserver_wire import read_handed_on, user_sender
from lotus_guard.core.model import UserId
from lotus_guard.core.naming import known_identities, legacy_identity_of, livekit_room_of
from lotus_guard.core.token import KeyPair, open_token
from lotus_guard.core.wire import (
    Endpoint,
    TokenRequest,
    endpoint_of,
    read_answer,
    read_token_request,
)

TABLE = Table(rooms=2, users=4)


def read(ask: Ask) -> TokenRequest:
    """Read a request as the guard does."""
    if ask.door == HOMESERVER:
        return read_handed_on(user_sender(ask.user), ask.body.encode())
    endpoint = endpoint_of(ask.path.encode())
    assert endpoint is not None
    return read_token_request(endpoint, ask.body.encode())


@pytest.mark.parametrize("ask", TABLE.asks, ids=lambda ask: f"{ask.kind}{ask.path}")
def test_each_request_is_whole_and_its_token_is_for_it(ask: Ask) -> None:
    asked, answer = read(ask), read_answer(ask.answer.encode())
    assert answer is not None
    token = open_token(answer, [KeyPair(KEY, SECRET)])
    assert asked.is_whole
    assert asked.room == ask.room
    assert token.livekit_room == livekit_room_of(asked.room, asked.slot)
    user = UserId(ask.user)
    if asked.endpoint is Endpoint.LEGACY:
        assert token.identity == legacy_identity_of(user, asked.device or "")
    else:
        assert asked.user == user
        assert token.identity in known_identities(user, asked.device or "", asked.member or "")


def test_both_public_endpoints_are_asked_alike_and_each_user_asks_once() -> None:
    paths = Counter(ask.path.partition("?")[0] for ask in TABLE.asks if ask.kind == "sources")
    assert paths["/get_token"] == paths["/sfu/get"] == 2 * TABLE.users // 2
    assert len({ask.user for ask in TABLE.asks}) == len(TABLE.asks)
    assert [ask.number for ask in TABLE.asks] == list(range(len(TABLE.asks)))


def test_every_room_has_its_policies_and_one_of_them_is_full() -> None:
    policies = TABLE.policies()
    assert {ask.room for ask in TABLE.asks} == policies.keys()
    assert {ask.door for ask in TABLE.asks if ask.kind == FULL} == {PUBLIC, HOMESERVER}


def test_the_files_of_the_load_hold_each_request_of_their_kind_and_door(tmp_path: Path) -> None:
    files = write_script(tmp_path, TABLE)
    assert files.keys() == {(kind, door) for door, kinds in DOORS.items() for kind in kinds}
    for (kind, door), path in files.items():
        lines = [line.split(" ", 2) for line in path.read_text().splitlines()]
        wanted = {
            (ask.path, ask.user if door == HOMESERVER else ask.address, ask.body)
            for ask in TABLE.of(kind, door)
        }
        assert {tuple(line) for line in lines} == wanted
        assert len(lines) == len(wanted)


def test_every_cell_can_be_asked_for_and_has_a_name_of_its_own() -> None:
    assert all(cell.kind in DOORS[cell.door] for cell in CELLS)
    assert len({(cell.kind, cell.name) for cell in CELLS}) == len(set(CELLS)) == len(CELLS)
    assert {cell.kind for cell in CELLS} == KINDS.keys()
