"""Power levels as a real Synapse has them: its own code, and its admin API."""

import json
import subprocess
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.core.power import CREATE, POWER_LEVELS, read_power
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.ports import MayNotLook
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.synapse import Synapse as Admin
from tests.contract.homeserver_port import AgentOf, found
from tests.contract.subject import OverNetwork
from tests.events import LIMIT_EVENT
from tests.real.conftest import require_real
from tests.real.homeserver import Synapse
from tests.real.processes import REAL

pytestmark = pytest.mark.real

USERS = ("@c:s", "@d:s", "@u:s")
ASKS_SYNAPSE = """
import json, sys
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.event_auth import CREATOR_POWER_LEVEL, get_send_level, get_user_power_level
from synapse.events import make_event_from_dict

def made(kind, content, version):
    event = {"type": kind, "state_key": "", "sender": "@c:s", "content": content, "depth": 1,
             "prev_events": [], "auth_events": [], "origin_server_ts": 1, "hashes": {},
             "signatures": {}}
    if kind == "m.room.power_levels" or version != "12":
        event["room_id"] = "!r" if version == "12" else "!r:s"
    return make_event_from_dict(event, KNOWN_ROOM_VERSIONS[version])

def levels_of(case):
    version = case["create"]["room_version"]
    create = made("m.room.create", case["create"], version)
    levels = None
    state = {("m.room.create", ""): create}
    if case["levels"] is not None:
        levels = state["m.room.power_levels", ""] = made(
            "m.room.power_levels", case["levels"], version)
    has = [get_user_power_level(user, state) for user in case["users"]]
    above = [None if level >= CREATOR_POWER_LEVEL else level for level in has]
    return [*above, get_send_level(case["type"], "", levels)]

print(json.dumps([levels_of(case) for case in json.load(sys.stdin)]))
"""
LEVELS: list[Any] = [
    None,
    {},
    {"users": {"@u:s": 50}, "events": {LIMIT_EVENT: 60}},
    {"users_default": 20, "state_default": 30},
    {"users": {"@u:s": " 7 ", "@d:s": "+7"}, "events": {LIMIT_EVENT: "-007"}},
    {"users": {"@u:s": 7.9, "@d:s": -7.9}, "state_default": 60.5},
    {"users": {"@u:s": None}, "users_default": "5", "events": {LIMIT_EVENT: None}},
    {"users": {"@u:s": 0}, "users_default": 50, "state_default": 0},
]
FIRST_EVENTS: list[dict[str, Any]] = [
    *({"room_version": each, "creator": "@d:s"} for each in ("3", "5", "9", "10")),
    {"room_version": "11", "creator": "@d:s"},
    {"room_version": "12"},
    {"room_version": "12", "additional_creators": ["@d:s"]},
]


def test_synapse_itself_reads_the_same_levels() -> None:
    require_real()
    same = {"users": USERS, "type": LIMIT_EVENT}
    cases = [{"levels": each, "create": made, **same} for each in LEVELS for made in FIRST_EVENTS]
    asked = subprocess.run(
        [str(REAL / "venv" / "bin" / "python"), "-c", ASKS_SYNAPSE],
        input=json.dumps(cases).encode(),
        capture_output=True,
        check=True,
    )
    for case, theirs in zip(cases, json.loads(asked.stdout), strict=True):
        create = {"type": CREATE, "sender": "@c:s", "content": case["create"]}
        power = read_power(case["levels"], create)
        ours = [power.of(user) for user in USERS]
        wanted = [inf if level is None else level for level in theirs[:-1]]
        assert (ours, power.needed(LIMIT_EVENT)) == (wanted, theirs[-1]), case


@pytest.fixture(scope="module")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    require_real()
    server = Synapse(Path(tmp_path_factory.mktemp("power")) / "synapse")
    server.start()
    yield server
    server.process.stop()


def test_a_room_that_the_last_one_has_left_tells_no_levels(synapse: Synapse) -> None:
    """Its state is empty then: taken for a room without levels, its creator would have power."""
    user = synapse.register()
    room = synapse.create_room(user)
    token = Credential("admin", synapse.admin.access_token)
    admin = Admin(Http(AgentOf(OverNetwork(synapse.url)), Clock()), "http://h", token, 5.0)
    assert found(admin.power(RoomId(room))).of(user.user_id) == inf
    synapse.membership(user, room, "leave")
    answer = synapse.call(
        "GET",
        f"/_synapse/admin/v1/rooms/{room}/state?type={POWER_LEVELS}",
        synapse.admin.access_token,
    )
    assert (answer.status, answer.json()) == (200, {"state": []})
    assert isinstance(found(admin.power(RoomId(room))), MayNotLook)
