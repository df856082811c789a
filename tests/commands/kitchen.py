"""A room with power levels in the sandbox, and those who may and may not set its policy."""

from collections.abc import Mapping
from queue import Queue
from typing import Any

import pytest
from attrs import define, field
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from lotus_guard.commands.common import Failed
from lotus_guard.commands.policy_options import Wishes
from lotus_guard.commands.policy_room import (
    Changed,
    Sides,
    find_room,
    set_policy,
)
from lotus_guard.core.model import RoomId
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.matrix import Matrix
from lotus_guard.rules import RULES
from lotus_guard.rules.limit import Limit
from lotus_guard.rules.media import Media
from lotus_guard.sandbox.stack import ADMIN_TOKEN
from tests.world import World

MOD, PLAIN, STRANGER = "mod-token-0123456789", "plain-token-012345", "stranger-token-01"
ROOM = "!kitchen"
"""Of room version 12: without a server."""
ALIAS = "#kitchen:sandbox"
HOSTILE = "x\x1b[2J\u202e\n[bold red]\x9b31m"
HOSTILE_ROOM = "!x\u202e[bold red]"
"""As hostile as a room id can be: Matrix has none with control characters."""
LIMIT, MEDIA = Limit(), Media()


def wish(**wanted: Any) -> Wishes:
    """Options of the command line, by their names in Python."""
    options = {option.flag.replace("-", "_"): option for rule in RULES for option in rule.options}
    return {options[name]: value for name, value in wanted.items()}


@define
class Kitchen:
    """A room with power levels: a moderator, somebody without power, and a stranger."""

    world: World
    http: Http
    states: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.states = states = self.world.sandbox.homeserver
        for name, token in (("mod", MOD), ("plain", PLAIN), ("stranger", STRANGER)):
            states.add_account(f"@{name}:sandbox", token)
        states.add_room(ROOM, "@admin:sandbox")
        states.set_state(ROOM, "m.room.power_levels", {"users": {"@mod:sandbox": 50}})
        for name in ("mod", "plain"):
            states.join(ROOM, f"@{name}:sandbox")
        states.aliases[ALIAS] = ROOM

    def sides(self, token: str = MOD, **more: Any) -> Sides:
        url = self.world.sandbox.addresses.synapse
        return Sides(Matrix(self.http, url, ADMIN_TOKEN), Matrix(self.http, url, token, **more))

    def has(self, event_type: str, content: Mapping[str, Any], sender: str = "@a:s") -> None:
        self.states.set_state(ROOM, event_type, content, sender=sender)

    def content(self, event_type: str) -> Any:
        event = self.states.rooms[ROOM].get((event_type, ""))
        return event and event["content"]

    async def set(self, token: str = MOD, **wanted: Any) -> Changed:
        return await set_policy(self.sides(token), RoomId(ROOM), RULES, wish(**wanted))

    async def fails(self, wanted: str, sides: Sides, kind: type[Failed], room: str = ROOM) -> str:
        wishes = wish(max_users=3, camera=False)
        with pytest.raises(Failed) as caught:
            await set_policy(sides, await find_room(sides, room), RULES, wishes)
        said = caught.value.message
        assert type(caught.value) is kind, said
        assert wanted in said
        assert not any(token in said for token in (MOD, PLAIN, STRANGER, ADMIN_TOKEN))
        assert said.isprintable()
        return said


CAMERA, SCREEN = "allow_camera", "allow_screenshare"


class Answers(Resource):
    """Answers everything in one way, but the admin API as Synapse does; `None` hangs."""

    isLeaf = True

    def __init__(self, status: int, body: bytes | None) -> None:
        super().__init__()
        self.status, self.body = status, body
        self.asked: Queue[bytes] = Queue()

    def render(self, request: Any) -> Any:
        if b"/_synapse/admin/" in request.uri:
            return b'{"state": []}'
        request.setResponseCode(self.status)
        self.asked.put(request.uri)
        return NOT_DONE_YET if self.body is None else self.body
