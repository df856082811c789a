"""A guard in this process with its neighbours in memory, on a clock that the benchmark turns.

The guard is the real composition: its public site, its live loop, its state file. In place of
sockets are agents that answer from plain state a moment later, and a transport that keeps what is
written. The neighbours forget what is over, so what grows in this process is the guard.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from attrs import define, field
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room
from twisted.internet.task import Clock

from bench.in_memory import Answer, MemoryAgent, MemoryConnection
from bench.traffic import KEY, LIMIT, QUALITY, SECRET
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT, identity_of, legacy_identity_of, livekit_room_of
from lotus_guard.neighbours.agents import Agents
from lotus_guard.rules import RULES
from lotus_guard.rules.push import sign_push, write_push
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import read_config
from lotus_guard.run.guard import Guard, make_guard
from lotus_guard.run.live_service import LiveService
from lotus_guard.sandbox.authorization_state import Issuer
from lotus_guard.sandbox.livekit_state import LiveKitState
from lotus_guard.sandbox.livekit_webhooks import WEBHOOK_TYPE, sign_webhook
from lotus_guard.web.door import DoorSite

EPOCH = 1_800_000_000.0
"""When the simulation begins, in seconds since 1970."""
PUSH_SECRET = "a-push-secret-for-the-benchmark"
NO_VIDEO: Mapping[str, Any] = {QUALITY: {"allow_camera": False, "allow_screenshare": False}}
POLICIES: Sequence[Mapping[str, Any]] = (
    NO_VIDEO,  # from a minute into the call on
    NO_VIDEO,
    {LIMIT: {"max_users": 8}},
    {QUALITY: {"allow_camera": False}, LIMIT: {"max_users": 50}},
    {},
    {},
    {},
    {},
)
"""What the rooms say, in turn."""
CHANGES = 0
"""The kind of room that has its policy only after `CHANGES_AFTER` seconds."""
CHANGES_AFTER = 60.0


@define(eq=False)
class Simulation:
    """The guard, its neighbours and its clients."""

    directory: Path
    clock: Clock = field(factory=Clock)
    sfu: LiveKitState = field(init=False)
    guard: Guard = field(init=False)
    service: LiveService = field(init=False)
    answers: dict[int, int] = field(factory=dict)
    """How many answers there were of each status."""
    begun: dict[str, float] = field(factory=dict)
    """When each call that there is was begun, by its room."""
    _unheard: set[str] = field(factory=set)
    """The LiveKit rooms of which no webhook comes."""
    _issuer: Issuer = field(init=False)
    _site: DoorSite = field(init=False)
    _ids: int = 0

    def __attrs_post_init__(self) -> None:
        self.sfu = LiveKitState(KEY, SECRET, self.epoch, self._new_id)
        self.sfu.listeners.append(self._tell)
        self._issuer = Issuer(KEY, SECRET, "wss://sfu.bench", self.epoch)
        clocks = Clocks(self.clock, self.clock.seconds, self.epoch)
        agents = Agents(
            MemoryAgent(self.clock, self._upstream),
            MemoryAgent(self.clock, self._livekit),
            MemoryAgent(self.clock, self._synapse),
        )
        config = read_config(self._environment())
        self.guard = make_guard(config, clocks, agents)
        self.guard.memory.open()
        self._site = DoorSite(self.guard.public.door)
        self._site.reactor = self.clock
        self.service = LiveService(self.guard, config, clocks, agents)
        self.service.startService()

    def epoch(self) -> float:
        """Seconds since 1970."""
        return EPOCH + self.clock.seconds()

    def is_writing(self) -> bool:
        """Whether the guard is writing to its state file."""
        return getattr(self.guard.memory.cluster.store, "_writing", None) is not None

    def ask(
        self, room: int, user: int, legacy: bool, on_token: Callable[[str], None] | None = None
    ) -> None:
        """Ask for a token, as one of the requests with which a client joins."""
        name, device = user_name(user), f"DEVICE{user}"
        openid = {"access_token": f"syt_{user}", "matrix_server_name": "bench"}
        fields: dict[str, Any]
        if legacy:
            path = "/sfu/get"
            fields = {"room": room_name(room), "openid_token": openid, "device_id": device}
        else:
            path = "/get_token"
            who = {"id": f"m{user}", "claimed_user_id": name, "claimed_device_id": device}
            fields = {"room_id": room_name(room), "slot_id": ROOM_SLOT, "member": who}
            fields["openid_token"] = openid

        def answered(status: int, body: bytes) -> None:
            self.answers[status] = self.answers.get(status, 0) + 1
            if status == 200 and on_token:
                on_token(json.loads(body)["jwt"])

        self._post(
            path, json.dumps(fields).encode(), {"Content-Type": "application/json"}, answered
        )

    def join(self, token: str) -> tuple[str, str]:
        """Come in with a token; returns the LiveKit room and the identity."""
        info = self.sfu.join(token)
        livekit_room = self.sfu.open_token(token)["video"]["room"]
        return livekit_room, info.identity

    def end(self, room: int, livekit_room: str) -> None:
        """End a call that is empty."""
        self.sfu.delete(livekit_room)
        self.begun.pop(room_name(room), None)
        self._unheard.discard(livekit_room)

    def push(self, room: int) -> None:
        """Let Synapse's module tell of a room's policies."""
        if not is_heard(room):
            return
        found = self.policies(room)
        body = write_push(
            RoomId(room_name(room)), {LIMIT: found.get(LIMIT), QUALITY: found.get(QUALITY)}, RULES
        )
        self.guard.hints.push(body, sign_push(body, PUSH_SECRET, self.epoch()))

    def heartbeat(self) -> None:
        """Let Synapse's module show that it is there."""
        self.guard.hints.push(b"{}", sign_push(b"{}", PUSH_SECRET, self.epoch()))

    def policies(self, room: int) -> Mapping[str, Any]:
        """What a room says now."""
        kind, now = room % len(POLICIES), self.clock.seconds()
        is_new = now - self.begun.get(room_name(room), now) < CHANGES_AFTER
        return {} if kind == CHANGES and is_new else POLICIES[kind]

    def _environment(self) -> dict[str, str]:
        return {
            "LOTUS_GUARD_UPSTREAM": "http://127.0.0.1:1",
            "LIVEKIT_URL": "http://127.0.0.1:2",
            "LIVEKIT_KEY": KEY,
            "LIVEKIT_SECRET": SECRET,
            "LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:3",
            "LOTUS_GUARD_SYNAPSE_TOKEN": "t",
            "LOTUS_GUARD_MEMBERS": "off",  # this homeserver knows of no members
            "LOTUS_GUARD_PUSH_SECRET": PUSH_SECRET,
            "LOTUS_GUARD_STATE": str(self.directory / "state.sqlite"),
        }

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:08d}"

    def _tell(self, event: Any) -> None:
        """Let LiveKit post a webhook."""
        if event.room.name in self._unheard:
            return
        body, token = sign_webhook(event, KEY, SECRET, self.epoch())
        headers = {"Content-Type": WEBHOOK_TYPE, "Authorization": token}
        self._post("/sfu_webhook", body, headers, lambda _status, _body: None)

    def _post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        on_answer: Callable[[int, bytes], None],
    ) -> None:
        def read(answer: bytes) -> None:
            head, _, content = answer.partition(b"\r\n\r\n")
            on_answer(int(head.split(b" ")[1]), content)

        lines = [f"POST {path} HTTP/1.1", "Host: guard", f"Content-Length: {len(body)}"]
        lines += ["Connection: close", *(f"{name}: {value}" for name, value in headers.items())]
        connection = MemoryConnection(read)
        protocol: Any = self._site.buildProtocol(connection.getPeer())
        protocol.makeConnection(connection)
        connection.protocol = protocol
        protocol.dataReceived("\r\n".join([*lines, "", ""]).encode() + body)

    def _upstream(self, _method: bytes, target: str, body: bytes) -> Answer:
        if target == "/sfu_webhook":
            return 200, b""
        fields = json.loads(body)
        user = fields["openid_token"]["access_token"].removeprefix("syt_")
        name = UserId(user_name(int(user)))
        room = fields.get("room") or fields["room_id"]
        if target == "/sfu/get":
            identity = legacy_identity_of(name, fields["device_id"])
        else:
            who = fields["member"]
            identity = identity_of(name, who["claimed_device_id"], who["id"])
        livekit_room = livekit_room_of(RoomId(room), ROOM_SLOT)
        if not is_heard(number_of(room)):
            self._unheard.add(livekit_room)
        self.sfu.create(livekit_room)
        self.begun.setdefault(room, self.clock.seconds())
        return 200, json.dumps(self._issuer.answer(room, ROOM_SLOT, identity)).encode()

    def _livekit(self, _method: bytes, target: str, body: bytes) -> Answer:
        method = target.rpartition("/")[2]
        if method == "ListRooms":
            names = lk_room.ListRoomsRequest.FromString(body).names
            found = [name for name in self.sfu.rooms if not names or name in names]
            rooms = [self.sfu.room(name) for name in found]
            return 200, lk_room.ListRoomsResponse(rooms=rooms).SerializeToString()
        if method == "ListParticipants":
            room = lk_room.ListParticipantsRequest.FromString(body).room
            people = list(self.sfu.rooms.get(room, {}).values())
            return 200, lk_room.ListParticipantsResponse(participants=people).SerializeToString()
        if method == "UpdateParticipant":
            wanted = lk_room.UpdateParticipantRequest.FromString(body)
            if wanted.identity not in self.sfu.rooms.get(wanted.room, {}):
                return 404, b"{}"
            self.sfu.permit(wanted.room, wanted.identity, wanted.permission)
            return 200, self.sfu.rooms[wanted.room][wanted.identity].SerializeToString()
        gone = lk_room.RoomParticipantIdentity.FromString(body)
        if gone.identity not in self.sfu.rooms.get(gone.room, {}):
            return 404, b"{}"
        reason = lk_models.DisconnectReason.PARTICIPANT_REMOVED
        self.sfu.leave(gone.room, gone.identity, reason)
        return 200, b""

    def _synapse(self, _method: bytes, target: str, _body: bytes) -> Answer:
        path, _, query = target.partition("?")
        if path == "/_synapse/admin/v1/rooms":
            return 200, b'{"rooms": []}'
        wanted = parse_qs(query)["type"][0]
        content = self.policies(number_of(unquote(path.split("/")[5]))).get(wanted)
        event = {"type": wanted, "state_key": "", "content": content}
        return 200, json.dumps({"state": [event] if content else []}).encode()


def room_name(number: int) -> str:
    return f"!room{number}:bench"


def number_of(room: str) -> int:
    return int(room.removeprefix("!room").removesuffix(":bench"))


def is_heard(room: int) -> bool:
    """Whether webhooks and pushes come for a room: for one half of them all are lost."""
    return room // len(POLICIES) % 2 == 0


def user_name(number: int) -> str:
    return f"@user{number}:bench"
