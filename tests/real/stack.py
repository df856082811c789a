"""The whole stack as processes: Synapse, livekit-server, authorization service, guard."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import define, field, frozen

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, livekit_room_of
from tests.real.authorization import authorization
from tests.real.client import Client, Clients
from tests.real.homeserver import UNLIMITED, Homeserver, Synapse, User
from tests.real.processes import ROOT, Answer, Process, free_port, http
from tests.real.sfu import KEY, SECRET, LiveKit
from tests.real.switch import Switch

PUSH_SECRET = "a-push-secret-for-tests-0123456789"
MOST_ROOM_ID = 256
LIMIT, QUALITY = "io.lotus.voice_limit", "io.lotus.room_quality"
NO_VIDEO = {"allow_camera": False, "allow_screenshare": False}


@define(eq=False)
class Guard:
    """The guard as twistd runs it."""

    process: Process
    admin_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    def metrics(self) -> dict[str, float]:
        """Read the metrics, by name with labels."""
        text = http("GET", f"http://127.0.0.1:{self.admin_port}/metrics").body.decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}


def make_guard(
    directory: Path,
    upstream: Process,
    livekit: LiveKit,
    synapse: Homeserver,
    settings: Mapping[str, str],
    ports: tuple[int, int] | None = None,
) -> Guard:
    """Make a guard in front of the stack; nothing is started. It asks with an admin's token."""
    port, admin_port = ports or (free_port(), free_port(after=1))  # a second worker has the next
    env = {
        "PYTHONPATH": str(ROOT),
        "LOTUS_GUARD_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{admin_port}:interface=127.0.0.1",
        "LOTUS_GUARD_UPSTREAM": f"http://127.0.0.1:{upstream.port}",
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_KEY": KEY,
        "LIVEKIT_SECRET": livekit.secret,
        "LOTUS_GUARD_SYNAPSE_URL": synapse.url,
        "LOTUS_GUARD_SYNAPSE_TOKEN": synapse.admin.access_token,
        "LOTUS_GUARD_STATE": str(directory / "state.sqlite"),
        **settings,
    }
    twistd = str(Path(sys.executable).with_name("twistd"))
    command = [twistd, "--nodaemon", "--pidfile=", "lotus-guard"]
    return Guard(Process("guard", command, directory, port, env), admin_port)


@define(eq=False)
class Stack:
    """All of it, and what tests do with it."""

    directory: Path
    livekit: LiveKit
    synapse: Homeserver
    upstream: Process
    guard: Guard
    clients: Clients
    homeserver_port: int
    """The guard's port for the homeserver, where that stands behind it."""
    _openid: dict[str, dict[str, Any]] = field(factory=dict)
    _members: set[tuple[str, str]] = field(factory=set)

    def room(self, limit: object = None, quality: object = None) -> str:
        """Make a room with these policies."""
        room = self.synapse.create_room(self.synapse.admin)
        for event_type, content in ((LIMIT, limit), (QUALITY, quality)):
            if content is not None:
                self.set_policy(room, event_type, content)
        return room

    def set_policy(self, room: str, event_type: str, content: object) -> None:
        answer = self.synapse.set_state(self.synapse.admin, room, event_type, content)
        assert answer.status == 200, answer.body

    def users(self, count: int) -> list[User]:
        return [self.synapse.register() for _ in range(count)]

    def enter(self, user: User, room: str) -> None:
        """Have a user join a room once, if there is such a room."""
        if (user.user_id, room) not in self._members and len(room) < MOST_ROOM_ID:
            self._members.add((user.user_id, room))
            path = f"/_matrix/client/v3/join/{quote(room, safe='')}"
            self.synapse.call("POST", path, user.access_token, {})

    def request(
        self, user: User, room: str, endpoint: str = "/get_token", device: str = "DEV", **more: Any
    ) -> bytes:
        """Write the body of a request for a token, by a member unless they are `outside`."""
        if not more.get("outside"):
            self.enter(user, room)
        openid = more.get("openid") or self._openid.get(user.user_id)
        if openid is None:
            openid = self._openid[user.user_id] = self.synapse.openid(user)
        if endpoint == "/sfu/get":
            fields = {"room": room, "openid_token": openid, "device_id": device}
        else:
            fields = {
                "room_id": room,
                "slot_id": more.get("slot", ROOM_SLOT),
                "openid_token": openid,
                "member": {
                    "id": more.get("member", f"{device}-1"),
                    "claimed_user_id": user.user_id,
                    "claimed_device_id": device,
                },
            }
        return json.dumps(fields).encode()

    def ask(
        self, user: User, room: str, endpoint: str = "/get_token", via: str = "", **more: Any
    ) -> Answer:
        """Ask for a token, through the guard unless `via` says otherwise."""
        body = self.request(user, room, endpoint, **more)
        headers = {"Content-Type": "application/json"}
        return http("POST", (via or self.guard.url) + endpoint, body, headers)

    def ask_all(self, asks: list[tuple[User, str]], endpoint: str = "/get_token") -> list[Answer]:
        """Ask for many tokens at the same time."""
        bodies = [self.request(user, room, endpoint) for user, room in asks]
        with ThreadPoolExecutor(len(asks)) as pool:
            return list(
                pool.map(lambda body: http("POST", self.guard.url + endpoint, body), bodies)
            )

    def join(self, user: User, room: str, endpoint: str = "/get_token", **more: Any) -> Client:
        """Get a token through the guard and join with it."""
        answer = self.ask(user, room, endpoint, **more)
        assert answer.status == 200, answer.body
        return self.join_with(answer.json()["jwt"])

    def join_with(self, token: str) -> Client:
        client = self.clients.new()
        joined = client.connect(self.livekit.url, token)
        assert joined["ok"], joined
        return client

    def identities(self, room: str, slot: str = ROOM_SLOT) -> set[str]:
        return self.livekit.identities(livekit_room_of(RoomId(room), slot))

    def on(self, room: str, slot: str) -> list[dict[str, Any]]:
        """List who is in the call of a slot."""
        return self.livekit.participants(livekit_room_of(RoomId(room), slot))

    def livekit_room(self, room: str) -> str:
        return livekit_room_of(RoomId(room), ROOM_SLOT)


@frozen
class Behind:
    """How a stack stands behind its homeserver."""

    switch: Switch | None = None
    """The way that the homeserver's requests take to the guard; None: straight there."""
    messages: Mapping[str, float] = UNLIMITED
    secret: str = SECRET


@contextmanager
def running_stack(
    directory: Path,
    modules: bool = False,
    guarded: bool = True,
    hooks: bool | None = None,
    behind: Behind | None = None,
    generation: str = "",
    **settings: str,
) -> Iterator[Stack]:
    """Start everything, the guard only where it is `guarded`, and end it.

    `modules` puts ours into Synapse; with it, or with `hooks`, LiveKit sends its webhooks. With
    `behind`, Synapse hands requests for tokens on to the guard. `generation` is lk-jwt-service's.
    """
    with ExitStack() as ends:
        guard_port, admin_port = free_port(), free_port()
        push_secret = directory / "push-secret"
        push_secret.write_text(PUSH_SECRET)
        module: Mapping[str, Any] = {
            "module": "lotus_guard.synapse_module.LotusGuardModule",
            "config": {
                "guard_url": f"http://127.0.0.1:{admin_port}",
                "push_secret_path": str(push_secret),
            },
        }
        homeserver_port, sfu_port = free_port(), free_port()
        way = behind or Behind()
        proxy_url = way.switch.url if way.switch else f"http://127.0.0.1:{homeserver_port}"
        if way.switch:
            way.switch.lead_to(homeserver_port)
        synapse = Synapse(
            directory / "synapse",
            [module] if modules else [],
            proxy_url if behind else "",
            f"ws://127.0.0.1:{sfu_port}",
            way.messages,
        )
        synapse.start()
        ends.callback(synapse.process.stop)
        hears = modules if hooks is None else hooks
        urls = [f"http://127.0.0.1:{guard_port}/sfu_webhook"] if hears else []
        livekit = LiveKit(directory / "livekit", urls, sfu_port, way.secret)
        livekit.start()
        ends.callback(livekit.process.stop)
        homeserver = synapse if behind else None
        upstream = authorization(directory / "authorization", livekit, homeserver, generation)
        upstream.start()
        ends.callback(upstream.stop)
        if behind:
            listen = f"tcp:{homeserver_port}:interface=127.0.0.1"
            registration = str(directory / "synapse" / "registration.yaml")
            settings = {
                "LOTUS_GUARD_HOMESERVER_LISTEN": listen,
                "LIVEKIT_AS_REGISTRATION_FILE": registration,
                **settings,
            }
        if modules:
            settings = {"LOTUS_GUARD_PUSH_SECRET": PUSH_SECRET, **settings}
        guard = make_guard(
            directory / "guard", upstream, livekit, synapse, settings, (guard_port, admin_port)
        )
        if guarded:
            guard.process.start()
        ends.callback(guard.process.stop)
        clients = Clients(directory / "clients")
        ends.callback(clients.close)
        yield Stack(directory, livekit, synapse, upstream, guard, clients, homeserver_port)


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000.0, 1)


def now() -> float:
    return time.time()
