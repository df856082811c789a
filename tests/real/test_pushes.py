"""What a real Synapse with our module tells the guard, and does when a room is upgraded."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest
from attrs import define, field

from lotus_guard.core.power import POWER_LEVELS
from lotus_guard.rules import RULES
from lotus_guard.rules.push import HEADER, Push, read_push
from tests.real.conftest import require_real
from tests.real.homeserver import AS_TOKEN, HS_TOKEN, Synapse, User
from tests.real.processes import Process, free_port, until
from tests.real.sfu import LiveKit
from tests.real.stack import LIMIT, NO_VIDEO, PUSH_SECRET, QUALITY, Guard, make_guard

CLIENT = "/_matrix/client/v3/rooms"


@define(eq=False)
class Heard:
    """A guard that takes every push, and what came in."""

    port: int = field(factory=free_port)
    pushes: list[Push] = field(factory=list)
    _server: ThreadingHTTPServer = field(init=False)

    def __attrs_post_init__(self) -> None:
        heard = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                header = self.headers[HEADER]
                heard.pushes.append(read_push(body, header, PUSH_SECRET, time.time(), RULES))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def memberships(self, room: str, user: User) -> list[str]:
        """What was told of a user in a room."""
        return [
            each.membership.value
            for push in list(self.pushes)
            for each in push.members
            if (each.room, each.user) == (room, user.user_id)
        ]


@define(eq=False)
class Town:
    """Synapse with the module, and who hears it."""

    synapse: Synapse
    heard: Heard

    def act(self, user: User, room: str, path: str, content: object = None) -> Any:
        where = f"{CLIENT}/{quote(room)}/{path}"
        answer = self.synapse.call("POST", where, user.access_token, content or {})
        assert answer.status == 200, answer.body
        return answer.json()

    def expect(self, room: str, user: User, *wanted: str) -> None:
        """Wait until all of this was told, in this order, and nothing else."""
        until(f"{wanted} is told", lambda: self.heard.memberships(room, user) == list(wanted), 10.0)

    def room(self, user: User, version: str) -> str:
        wanted = {"preset": "public_chat", "room_version": version}
        made = self.synapse.call("POST", "/_matrix/client/v3/createRoom", user.access_token, wanted)
        return str(made.json()["room_id"])

    def upgrade(self, user: User, room: str, version: str) -> str:
        return str(self.act(user, room, "upgrade", {"new_version": version})["replacement_room"])

    def content(self, user: User, room: str, event_type: str) -> Any:
        path = f"{CLIENT}/{quote(room)}/state/{event_type}/"
        answer = self.synapse.call("GET", path, user.access_token)
        return answer.json() if answer.status == 200 else None


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    require_real()
    with closing(Heard()) as heard:
        module = {
            "module": "lotus_guard.synapse_module.LotusGuardModule",
            "config": {
                "guard_url": f"http://127.0.0.1:{heard.port}",
                "push_secret": PUSH_SECRET,
                "carry_over": True,
            },
        }
        synapse = Synapse(tmp_path_factory.mktemp("pushes"), [module])
        synapse.start()
        yield Town(synapse, heard)
        synapse.process.stop()


def test_whoever_comes_and_goes_is_told_of_and_a_new_name_is_not(town: Town) -> None:
    admin, user = town.synapse.register(), town.synapse.register()
    room = town.synapse.create_room(admin)
    who = {"user_id": user.user_id}
    town.act(admin, room, "invite", who)
    town.synapse.join(user, room)
    town.expect(room, user, "invite", "join")
    path = f"/_matrix/client/v3/profile/{quote(user.user_id)}/displayname"
    assert town.synapse.call("PUT", path, user.access_token, {"displayname": "New"}).status == 200
    begun = time.monotonic()
    town.act(admin, room, "kick", who)
    town.expect(room, user, "invite", "join", "leave")
    print(f"\nkick to push: {1000.0 * (time.monotonic() - begun):.0f} ms")
    town.synapse.join(user, room)
    town.expect(room, user, "invite", "join", "leave", "join")
    town.act(admin, room, "ban", who)
    town.expect(room, user, "invite", "join", "leave", "join", "ban")
    town.act(admin, room, "unban", who)
    town.expect(room, user, "invite", "join", "leave", "join", "ban", "leave")


def test_the_last_one_who_goes_is_told_of_though_the_room_is_gone_with_them(town: Town) -> None:
    user = town.synapse.register()
    room = town.synapse.create_room(user)
    town.expect(room, user, "join")
    town.act(user, room, "leave")
    town.expect(room, user, "join", "leave")


def test_the_module_says_that_it_pushes_memberships(town: Town) -> None:
    until("a heartbeat", lambda: any(p.covers_members and p.is_complete for p in town.heard.pushes))


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_changed_power_levels_are_told_of(town: Town, version: str) -> None:
    until("a heartbeat", lambda: any(push.covers_power for push in town.heard.pushes))
    owner, user = town.synapse.register(), town.synapse.register()
    room = town.room(owner, version)

    def expect(*wanted: bool) -> None:
        """Wait until so many pushes of the room have come, of power levels or not."""

        def told() -> list[bool]:
            return [each.changes_power for each in list(town.heard.pushes) if each.room == room]

        until(f"{wanted} is told", lambda: told() == list(wanted), 10.0)

    expect(True)
    levels = town.content(owner, room, POWER_LEVELS)
    levels["users"][user.user_id] = 50
    begun = time.monotonic()
    assert town.synapse.set_state(owner, room, POWER_LEVELS, levels).status == 200
    expect(True, True)
    print(f"\npromotion to push: {1000.0 * (time.monotonic() - begun):.0f} ms")
    assert town.synapse.set_state(owner, room, LIMIT, {"max_users": 3}).status == 200
    expect(True, True, False)


def test_many_changes_make_few_pushes_and_hold_nothing_up(town: Town) -> None:
    admin = town.synapse.register()
    rooms = [town.synapse.create_room(admin) for _ in range(3)]
    users = [town.synapse.register() for _ in range(10)]
    before = len(town.heard.pushes)
    for room in rooms:
        for user in users:
            town.synapse.join(user, room)
    for room in rooms:
        for user in users:
            town.expect(room, user, "join")
    print(f"\n30 joins: {len(town.heard.pushes) - before} pushes")
    assert len(town.heard.pushes) - before <= 30


@pytest.mark.parametrize(("old", "new"), [("10", "11"), ("10", "12"), ("12", "12")])
def test_policies_go_along_when_a_room_is_upgraded(town: Town, old: str, new: str) -> None:
    user = town.synapse.register()
    room = town.room(user, old)
    for event_type, content in ((LIMIT, {"max_users": 3, "note": "x"}), (QUALITY, NO_VIDEO)):
        assert town.synapse.set_state(user, room, event_type, content).status == 200
    begun = time.monotonic()
    after = town.upgrade(user, room, new)
    until("both are there", lambda: town.content(user, after, QUALITY) == NO_VIDEO, 10.0)
    print(f"\nupgrade to policies: {1000.0 * (time.monotonic() - begun):.0f} ms")
    assert town.content(user, after, LIMIT) == {"max_users": 3, "note": "x"}
    path = f"/_synapse/admin/v1/rooms/{quote(after)}/state?type={LIMIT}"
    events = town.synapse.call("GET", path, town.synapse.admin.access_token).json()["state"]
    (event,) = [each for each in events if each["type"] == LIMIT]
    assert event["sender"] == user.user_id


def test_who_may_not_set_a_policy_carries_it_over_or_the_log_says_so(town: Town) -> None:
    """Synapse gives whoever upgrades a room all power in the new one, until it is done."""
    owner, user = town.synapse.register(), town.synapse.register()
    room = town.room(owner, "11")
    assert town.synapse.set_state(owner, room, LIMIT, {"max_users": 3}).status == 200
    town.synapse.join(user, room)
    levels = town.content(owner, room, "m.room.power_levels")
    levels["users"][user.user_id] = 50
    levels["events"] |= {LIMIT: 100, "m.room.tombstone": 50}
    assert town.synapse.set_state(owner, room, "m.room.power_levels", levels).status == 200
    after = town.upgrade(user, room, "11")

    def is_done() -> bool:
        said = f"Could not carry {LIMIT} over to {after}" in town.synapse.process.text()
        return said or town.content(user, after, LIMIT) == {"max_users": 3}

    until("it is done, or said", is_done, 10.0)


def test_transactions_of_a_real_homeserver_are_taken(tmp_path: Path) -> None:
    """Nothing but the homeserver and the guard: the other neighbours are asked for nothing."""
    require_real()
    port, registration = free_port(), tmp_path / "registration.yaml"
    wanted = {
        "id": "guard",
        "as_token": AS_TOKEN,
        "hs_token": HS_TOKEN,
        "sender_localpart": "_guard",
        "namespaces": {"users": [{"exclusive": False, "regex": "@.*"}]},
        "url": f"http://127.0.0.1:{port}",
    }
    registration.write_text(json.dumps(wanted))
    more = {"app_service_config_files": [str(registration)]}
    synapse = Synapse(tmp_path / "synapse", more=more)
    synapse.start()
    nobody = Process("nobody", [], tmp_path, free_port())
    settings = {
        "LOTUS_GUARD_HOMESERVER_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        "LOTUS_GUARD_TRANSACTIONS": "on",
        "LIVEKIT_AS_REGISTRATION_FILE": str(registration),
    }
    guard = make_guard(tmp_path / "guard", nobody, LiveKit(tmp_path, []), synapse, settings)
    try:
        guard.process.start()
        user = synapse.register()
        room = synapse.create_room(user)
        before = taken(guard)
        begun = time.monotonic()
        assert synapse.set_state(user, room, LIMIT, {"max_users": 3}).status == 200
        until("it is taken", lambda: taken(guard) > before, 20.0, 0.01)
        print(f"\npolicy to transaction: {1000.0 * (time.monotonic() - begun):.0f} ms")
        names = guard.metrics()
        assert not [n for n in names if "transactions_total" in n and "taken" not in n]
    finally:
        guard.process.stop()
        synapse.process.stop()


def taken(guard: Guard) -> float:
    return guard.metrics().get('lotus_guard_transactions_total{outcome="taken"}', 0.0)


def test_a_room_without_policies_is_upgraded_as_ever(town: Town) -> None:
    user = town.synapse.register()
    after = town.upgrade(user, town.room(user, "11"), "11")
    time.sleep(0.5)
    assert town.content(user, after, LIMIT) is None
