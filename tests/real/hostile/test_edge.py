"""Ids of any size, webhooks of any size, bodies of any shape: what a hostile client sends."""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lotus_guard.check.upstream_version import RUST
from tests.real.authorization import authorization
from tests.real.homeserver import User
from tests.real.processes import Answer, http, until
from tests.real.stack import Guard, Stack, make_guard

JSON = {"Content-Type": "application/json"}
MIB = 2**20
SHOTS = 500


def post(guard: Guard, path: str, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    return http("POST", guard.url + path, body, headers or JSON)


def volley(fire: Callable[[int], Answer], shots: int = SHOTS) -> set[int]:
    """Fire so many requests, eight at a time; returns the statuses that came back."""
    with ThreadPoolExecutor(8) as pool:
        return {answer.status for answer in pool.map(fire, range(shots))}


def memory(guard: Guard) -> float:
    """Resident memory of the guard in MiB."""
    pages = Path(f"/proc/{guard.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / MIB


def on_disk(guard: Guard) -> float:
    """Size of the guard's state in MiB."""
    files = guard.process.directory.glob("state.sqlite*")
    return sum(file.stat().st_size for file in files) / MIB


@contextmanager
def second_guard(stack: Stack, directory: Path, **settings: str) -> Iterator[Guard]:
    """Start a guard of the test's own in front of the same stack."""
    upstream = stack.upstream
    guard = make_guard(directory, upstream, stack.livekit, stack.synapse, settings)
    guard.process.start()
    try:
        yield guard
    finally:
        guard.process.stop()


def test_long_ids_leave_memory_and_state_as_they_were(stack: Stack, tmp_path: Path) -> None:
    (user,) = stack.users(1)
    room = stack.room()
    stack.request(user, room)  # the OpenID token is there, for all threads

    def ask(path: str, **more: Any) -> Callable[[int], Answer]:
        def fire(number: int) -> Answer:
            grown = {name: f"{text}{number}" for name, text in more.items()}
            body = stack.request(user, grown.pop("room", room), path, **grown)
            return post(guard, path, body)

        return fire

    with second_guard(stack, tmp_path / "guard") as guard:
        assert post(guard, "/get_token", stack.request(user, room)).status == 200
        before, kept = memory(guard), on_disk(guard)
        statuses = [
            volley(ask("/get_token", room="!" + "r" * 30_000)),
            volley(ask("/get_token", slot="s" * 30_000)),
            volley(ask("/sfu/get", device="d" * 60_000)),
        ]
        grown, stored = memory(guard) - before, on_disk(guard) - kept
        print(f"\n{3 * SHOTS} requests: +{grown:.1f} MiB of memory, +{stored:.1f} MiB of state")
        assert statuses == [{400}] * 3
        assert grown < 20
        assert stored < 2
        assert post(guard, "/get_token", stack.request(user, room)).status == 200


def test_rooms_that_cannot_be_end_nobody_elses_rules(stack: Stack) -> None:
    (user,) = stack.users(1)
    room = stack.room(quality={"allow_camera": False, "allow_screenshare": False})
    before = fail_opens(stack.guard)
    for number in range(24):
        for odd in (f"!{number}\0:s", f"!{number}\x1b:s", f"{number}", f"!{'x' * 300}{number}"):
            answer = post(stack.guard, "/get_token", stack.request(user, odd))
            assert (answer.status, answer.json()["errcode"]) == (400, "M_INVALID_PARAM")
    client = stack.join(user, room)
    assert not client.publish("video", "CAMERA")["ok"]
    client.disconnect()
    assert fail_opens(stack.guard) == before


def fail_opens(guard: Guard) -> float:
    """How often anything was let through."""
    return sum(v for k, v in guard.metrics().items() if k.startswith("lotus_guard_fail_open_total"))


def test_a_participant_with_long_metadata_loses_nobody_a_webhook(pushing: Stack) -> None:
    """70,000 bytes of it: LiveKit puts them into all that it tells of the participant."""
    alice, bob = pushing.users(2)
    room = pushing.room(limit={"max_users": 1})
    newcomer = pushing.join(alice, room)
    until("they are seen", lambda: pushing.identities(room))
    forged, refused, passed = (webhooks(pushing.guard, each) for each in ("forged", "413", "200"))
    grant = {"roomAdmin": True, "room": pushing.livekit_room(room)}
    request = {
        "room": pushing.livekit_room(room),
        "identity": newcomer.identity,
        "metadata": "m" * 70_000,
    }
    pushing.livekit.call("UpdateParticipant", grant, request)
    assert pushing.ask(bob, room).status == 403
    newcomer.disconnect()
    until("upstream has been told", lambda: webhooks(pushing.guard, "200") > passed, 8.0)
    until("the seat is free", lambda: pushing.ask(bob, room).status == 200, 8.0)
    assert webhooks(pushing.guard, "forged") == forged
    assert webhooks(pushing.guard, "413") == refused


def webhooks(guard: Guard, what: str) -> float:
    """Count webhooks: those that were forged, or those answered with a status."""
    metrics = guard.metrics()
    if what == "forged":
        return metrics["lotus_guard_webhooks_forged_total"]
    return metrics.get(f'lotus_guard_requests_total{{endpoint="other",status="{what}"}}', 0.0)


def test_forged_webhooks_write_a_line_and_count_the_rest(stack: Stack) -> None:
    log, body = stack.guard.process.log, b'{"event": "room_finished", "id": "EV"}'
    size, lines = log.stat().st_size, log.read_text().count("\n")
    before = webhooks(stack.guard, "forged")
    assert volley(
        lambda number: post(stack.guard, "/sfu_webhook", body, {"Authorization": f"a.{number}.c"}),
        1500,
    ) == {200}
    until("all are counted", lambda: webhooks(stack.guard, "forged") == before + 1500)
    written = log.read_text().count("\n") - lines
    print(f"\n1500 forged webhooks: {written} lines, {log.stat().st_size - size} bytes")
    assert written < 10


@pytest.fixture
def rust(stack: Stack, tmp_path: Path) -> Iterator[Guard]:
    """A guard in front of an authorization service that reads as the one in Rust does."""
    upstream = authorization(tmp_path / "rust", stack.livekit, generation=RUST)
    upstream.start()
    guard = make_guard(tmp_path / "guard", upstream, stack.livekit, stack.synapse, {})
    try:
        guard.process.start()
        yield guard
    finally:
        guard.process.stop()
        upstream.stop()


def in_arrays(stack: Stack, user: User, room: str, number: int) -> bytes:
    """Write a token request as serde takes it too."""
    fields = json.loads(stack.request(user, room, member=f"page-{number}"))
    fields["member"] = list(fields["member"].values())
    return json.dumps(fields).encode()


def test_nobody_takes_two_seats_by_writing_arrays(stack: Stack, rust: Guard) -> None:
    mallory, alice = stack.users(2)
    room = stack.room(limit={"max_users": 2})
    for number in range(2):
        answer = post(rust, "/get_token", in_arrays(stack, mallory, room, number))
        assert answer.status == 400, answer.body
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert post(rust, "/get_token", stack.request(mallory, room)).status == 200
    assert post(rust, "/get_token", stack.request(alice, room)).status == 200
