"""Hostile clients: each does what the plan says, at a rate that this machine bears.

Those who are to bring a camera into a room come with a token from the soak's first seconds, when
every camera was allowed: it gives full rights until it runs out, which is after the soak.
"""

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from random import Random
from typing import Any

from attrs import define, field

from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT, identity_of, livekit_room_of
from tests.real.processes import http
from tests.soak.plan import Attack
from tests.soak.scene import Scene, request, slot_request
from tests.soak.swarm import Swarm
from tests.soak.town import own_rooms, room_id

SLOT = "m.call#17"
SLOTS = [f"m.call#{number}" for number in range(1, 17)] + [SLOT]
"""More than a look asks for one by one."""
NAME_BYTES = 200_000
METADATA_BYTES = 60_000
TRICKLING = 20
UNREAD = 4


@define(eq=False)
class Hostile:
    """One of them."""

    scene: Scene
    number: int
    swarm: Swarm
    dice: Random
    _drawer: dict[tuple[int, str], str] = field(factory=dict)
    """Tokens with full rights, by room and slot."""
    _turn: int = 0

    @property
    def name(self) -> str:
        """What their tokens are named after."""
        return f"h{self.number}"

    @property
    def user(self) -> str:
        """Their user id."""
        return f"@{self.name}:sandbox"

    def live(self) -> None:
        """Collect tokens, then attack as it is planned."""
        scene = self.scene
        scene.town.admit(self.name)
        scene.judge.hostile[self.user] = "nothing"
        attacks = [each for each in scene.plan.attacks if each.number == self.number]
        for attack in attacks:
            if attack.kind in ("drawer", "slots", "big names") and scene.now() < 4.0:
                self._fill_drawer(attack)
        for attack in attacks:
            if not scene.wait(attack.at):
                return
            scene.judge.hostile[self.user] = attack.kind
            scene.counts[f"attack: {attack.kind}"] += 1
            _ATTACKS[attack.kind](self, attack)

    def _fill_drawer(self, attack: Attack) -> None:
        slot = SLOT if attack.kind == "slots" else ROOM_SLOT
        if (attack.room, slot) not in self._drawer:
            token = self._ask_slot(attack.room, slot)
            if token:
                self._drawer[attack.room, slot] = token

    # --- without a place in a call ---

    def _repeat(self, attack: Attack, rate: float, work: Callable[[int], Any]) -> None:
        end, pace = attack.at + attack.seconds, 1.0 / rate
        while self.scene.now() < end and not self.scene.is_over:
            due = self.scene.now() + pace
            self._turn += 1
            with suppress(OSError):
                work(self._turn)
            self.scene.wait(due)

    def _invented_rooms(self, attack: Attack) -> None:
        """Ask for rooms that nobody has, each name after the one before; some have none at all."""

        def ask(turn: int) -> None:
            odd = ("", "", "\x00", "\x07\n")[turn % 4]
            self._send("/sfu/get", request(self.name, f"!{turn:08d}{odd}:sandbox"))

        self._repeat(attack, 10.0, ask)

    def _webhooks(self, attack: Attack) -> None:
        """Sign webhooks with nothing; one in four is too long."""
        livekit_room = livekit_room_of(RoomId(room_id(attack.room)), ROOM_SLOT)

        def hook(turn: int) -> None:
            event = {
                "event": "participant_left",
                "room": {"name": livekit_room},
                "id": f"EV_{turn}",
            }
            event["pad"] = "x" * (100_000 if turn % 4 == 0 else 10)
            self._send("/sfu_webhook", json.dumps(event).encode(), "e30.e30.forged")

        self._repeat(attack, 5.0, hook)

    def _odd_bodies(self, attack: Attack) -> None:
        """Write arrays for structs, and ids of many kilobytes."""
        room, me = room_id(attack.room), self.name
        openid = f"openid-{me}"
        bodies = (
            slot_request(me, room, ROOM_SLOT, member=["m", self.user, "D"]),
            json.dumps([room, ROOM_SLOT, [openid, "", "sandbox", 3600], ["m", self.user, "D"]]),
            slot_request(me, "!" + "r" * 30_000 + ":sandbox", ROOM_SLOT),
            slot_request(me, room, "s" * 30_000),
            slot_request(me, room, ROOM_SLOT, device="d" * 60_000),
        )

        def ask(turn: int) -> None:
            body = bodies[turn % len(bodies)]
            if self._send("/get_token", body if isinstance(body, bytes) else body.encode()):
                with self.scene.lock:  # it keeps a seat
                    self.scene.judge.given(attack.room, self.user, self.scene.now())

        self._repeat(attack, 4.0, ask)

    def _unused_tokens(self, attack: Attack) -> None:
        """Ask for tokens with ever new devices, and use none."""
        self._repeat(attack, 1.0, lambda turn: self._ask_slot(attack.room, ROOM_SLOT, f"U{turn}"))

    def _trickle(self, attack: Attack) -> None:
        """Send requests byte by byte, and do not read answers."""
        port = self.dice.choice(self.scene.town.processes).port
        with ExitStack() as ends:
            slow = [ends.enter_context(socket.socket()) for _ in range(TRICKLING)]
            deaf = [ends.enter_context(socket.socket()) for _ in range(UNREAD)]
            for sock in (*slow, *deaf):
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    sock.connect(("127.0.0.1", port))
                    sock.setblocking(False)
            pieces = [(slow, b"POST /sfu/get HTTP/1.1\r\nX-A: ")]

            def send(_turn: int) -> None:
                for socks, data in (*pieces, (deaf, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 500)):
                    for sock in socks:
                        with suppress(OSError):
                            sock.send(data)
                pieces[:] = [(slow, b"a")]

            self._repeat(attack, 2.0, send)

    # --- in a call ---

    def _churn(self, attack: Attack) -> None:
        """Connect and close, in rooms of their own that have a policy."""
        rooms = own_rooms(self.number)

        def come(turn: int) -> None:
            asked = self._send("/sfu/get", request(self.name, rooms[turn % len(rooms)]))
            self._connect(f"{self.name}-{turn}", asked, -1)
            self._disconnect(f"{self.name}-{turn}")

        self._repeat(attack, 3.0, come)

    def _slots(self, attack: Attack) -> None:
        """Make many LiveKit rooms of one Matrix room, and come with a camera in the last."""
        for slot in SLOTS:
            self._ask_slot(attack.room, slot)
        self.scene.livekit_rooms[livekit_room_of(RoomId(room_id(attack.room)), SLOT)] = attack.room
        self._stay(attack, self._drawer.get((attack.room, SLOT), ""))

    def _use_drawer(self, attack: Attack) -> None:
        """Come with a camera and a token from before cameras were forbidden."""
        self._ask_slot(attack.room, ROOM_SLOT)
        self._stay(attack, self._drawer.get((attack.room, ROOM_SLOT), ""))

    def _big_names(self, attack: Attack) -> None:
        """The same, and make oneself hard to look at."""
        self._ask_slot(attack.room, ROOM_SLOT)
        token = self._drawer.get((attack.room, ROOM_SLOT), "")
        self._stay(attack, token, is_big=True)

    def _disguise(self, attack: Attack) -> None:
        """Declare a camera as a microphone."""
        token = self._ask_slot(attack.room, ROOM_SLOT)
        self._stay(attack, token, source="microphone")

    def _stay(
        self, attack: Attack, token: str, source: str = "camera", is_big: bool = False
    ) -> None:
        self._turn += 1
        client = f"{self.name}-{self._turn}"
        if self._connect(client, token, attack.room):
            if is_big:
                self.swarm.do(client, "metadata", 10.0, length=METADATA_BYTES)
            media = {"kind": "video", "source": source, "name_length": NAME_BYTES * is_big}
            done = self.swarm.do(client, "publish", 15.0, **media)
            self._count("camera" if done.get("ok") else "no camera", attack.kind)
            self.scene.wait(attack.at + attack.seconds)
        self._disconnect(client)

    # --- tools ---

    def _ask_slot(self, room: int, slot: str, device: str = "D") -> str:
        identity = identity_of(UserId(self.user), device, "m")
        self.scene.users[identity] = self.user
        body = slot_request(self.name, room_id(room), slot, device)
        token = self._send("/get_token", body)
        if token:
            with self.scene.lock:
                self.scene.judge.token(room, self.user, self.scene.now())
        return token

    def _send(self, path: str, body: bytes, authorization: str = "") -> str:
        """Send something to a guard; gives the token that came back."""
        url = f"http://127.0.0.1:{self.dice.choice(self.scene.town.processes).port}"
        headers = {"X-Forwarded-For": f"203.0.113.{self.number}", "Authorization": authorization}
        try:
            answer = http("POST", url + path, body, headers)
        except Exception as error:
            self._count(type(error).__name__)
            return ""
        self._count(str(answer.status))
        with suppress(ValueError, TypeError, KeyError):
            token: str = answer.json()["jwt"]
            return token
        return ""

    def _count(self, what: str, kind: str = "") -> None:
        kind = kind or self.scene.judge.hostile[self.user]
        self.scene.counts[f"{kind}: {what}"] += 1

    def _connect(self, client: str, token: str, room: int) -> bool:
        if not token:
            return False
        self.scene.where[client] = (room, self.user)
        url = self.scene.town.livekit.url
        done = self.swarm.do(client, "connect", 15.0, url=url, token=token, subscribe=False)
        return bool(done.get("ok"))

    def _disconnect(self, client: str) -> None:
        if self.scene.where.pop(client, None):
            self.swarm.do(client, "disconnect", 15.0)


_ATTACKS: Mapping[str, Callable[[Hostile, Attack], None]] = {
    "invented rooms": Hostile._invented_rooms,
    "disguise": Hostile._disguise,
    "drawer": Hostile._use_drawer,
    "churn": Hostile._churn,
    "slots": Hostile._slots,
    "webhooks": Hostile._webhooks,
    "big names": Hostile._big_names,
    "odd bodies": Hostile._odd_bodies,
    "unused tokens": Hostile._unused_tokens,
    "trickle": Hostile._trickle,
}
