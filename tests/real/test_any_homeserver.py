"""The main job with a homeserver that has no admin API: a real Dendrite.

The guard has an application service's token alone. Who asks for a token is the reader of the room.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from lotus_guard.rules.members import SENTENCE
from tests.real.authorization import authorization
from tests.real.client import Clients
from tests.real.conftest import require_real
from tests.real.delays import policy_to_track_gone
from tests.real.dendrite import Dendrite
from tests.real.processes import ROOT, http, until
from tests.real.sfu import SECRET, LiveKit
from tests.real.stack import NO_VIDEO, Stack, make_guard, milliseconds
from tests.real.test_main_job import BOTH, claims
from tests.saying import said

READABLE = "@user.*"
TRIES = 10
NO_ADMIN = {"LOTUS_GUARD_SYNAPSE_TOKEN": ""}


@contextmanager
def dendrites_stack(directory: Path) -> Iterator[Stack]:
    """Start everything with Dendrite as the homeserver, and end it."""
    with ExitStack() as ends:
        dendrite = Dendrite(directory / "dendrite", readable=READABLE)
        dendrite.start()
        ends.callback(dendrite.process.stop)
        livekit = LiveKit(directory / "livekit")
        livekit.start()
        ends.callback(livekit.process.stop)
        upstream = authorization(directory / "authorization", livekit)
        upstream.start()
        ends.callback(upstream.stop)
        reads = str(directory / "dendrite" / "reader.yaml")
        settings = {**NO_ADMIN, "LOTUS_GUARD_AS_REGISTRATION_FILE": reads}
        guard = make_guard(directory / "guard", upstream, livekit, dendrite, settings)
        guard.process.start()
        ends.callback(guard.process.stop)
        clients = Clients(directory / "clients")
        ends.callback(clients.close)
        yield Stack(directory, livekit, dendrite, upstream, guard, clients, 0)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    require_real()
    with dendrites_stack(tmp_path_factory.mktemp("dendrite")) as running:
        yield running


@pytest.mark.parametrize("endpoint", BOTH)
def test_a_full_call_refuses(stack: Stack, endpoint: str) -> None:
    room = stack.room(limit={"max_users": 2})
    alice, bob, carol = stack.users(3)
    there = [stack.join(user, room, endpoint) for user in (alice, bob)]
    until("both are seen", lambda: len(stack.identities(room)) == 2)
    refused = stack.ask(carol, room, endpoint)
    assert refused.status == 403
    assert refused.json()["io.lotus.limit"] == {"max_users": 2, "users": 2}
    for client in there:
        client.disconnect()


@pytest.mark.parametrize("endpoint", BOTH)
def test_sources_are_taken_out_of_the_token(stack: Stack, endpoint: str) -> None:
    quiet, plain = stack.room(quality=NO_VIDEO), stack.room()
    (alice,) = stack.users(1)
    assert claims(stack.ask(alice, quiet, endpoint))["video"]["canPublishSources"] == ["microphone"]
    assert "canPublishSources" not in claims(stack.ask(alice, plain, endpoint))["video"]


def test_a_policy_takes_tracks_away_in_a_call(stack: Stack) -> None:
    delays = [policy_to_track_gone(stack) for _ in range(TRIES)]
    print(
        f"\nDendrite, polling alone: policy to track gone, median "
        f"{milliseconds(statistics.median(delays))} ms, worst {milliseconds(max(delays))} ms"
    )
    assert max(delays) < 3.0


@pytest.mark.parametrize("endpoint", BOTH)
def test_only_members_get_a_token(stack: Stack, endpoint: str) -> None:
    room = stack.room()
    member, invited, stranger, left, banned = stack.users(5)
    for user in (left, banned):
        stack.enter(user, room)
    stack.synapse.membership(left, room, "leave")
    admin = stack.synapse.admin
    stack.synapse.membership(admin, room, "ban", banned)
    stack.synapse.membership(admin, room, "invite", invited)
    for user in (invited, stranger, left, banned):
        refused = stack.ask(user, room, endpoint, outside=True)
        assert refused.status == 403, user
        assert refused.json()["error"].startswith(said(SENTENCE))
    assert stack.ask(member, room, endpoint).status == 200


@pytest.mark.parametrize("how", ["kick", "ban"])
def test_who_is_put_out_of_the_room_is_put_out_of_its_call(stack: Stack, how: str) -> None:
    delays = [room_to_call(stack, how) for _ in range(TRIES)]
    print(
        f"\nDendrite, polling alone: {how} to the end of the call, median "
        f"{milliseconds(statistics.median(delays))} ms, worst {milliseconds(max(delays))} ms"
    )
    assert max(delays) < 15.0


def room_to_call(stack: Stack, how: str) -> float:
    """Put somebody in a call out of the room; returns the seconds until the call has ended."""
    alice, bob = stack.users(2)
    room = stack.room()
    alice_in, bob_in = stack.join(alice, room), stack.join(bob, room)
    until("both are seen", lambda: len(stack.identities(room)) == 2)
    begun = time.time()
    stack.synapse.membership(stack.synapse.admin, room, how, bob)
    gone = bob_in.hears("disconnected", 20.0)
    assert stack.identities(room) == {alice_in.identity}
    alice_in.disconnect()
    return float(gone["at"] - begun)


def test_check_finds_nothing_wrong_with_it(stack: Stack) -> None:
    command = [sys.executable, "-m", "lotus_guard.cli", "check", "--json"]
    env = {**os.environ, **stack.guard.process.env, "PYTHONPATH": str(ROOT)}
    run = partial(subprocess.run, capture_output=True, text=True, timeout=120, check=False)
    done = run(command, cwd=stack.directory, env=env)
    assert SECRET not in done.stdout + done.stderr
    findings = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    for each in findings.values():
        print(f"  {each['level']:<8} {each['name']:<22} {each['seen']}")
    assert [each for each in findings.values() if each["level"] == "fault"] == []
    for name in ("synapse", "application-service-token", "asked-policies", "asked-membership"):
        assert findings[name]["level"] == "ok"


def test_who_names_an_account_before_they_make_it_gets_no_token_for_it(stack: Stack) -> None:
    """Nobody may act as who is not there yet, and that must open nothing once they are."""
    room, name = stack.room(), "user-not-there-yet"
    (other,) = stack.users(1)
    body = json.loads(stack.request(other, room, outside=True))
    body["member"]["claimed_user_id"] = f"@{name}:{stack.synapse.name}"
    early = http("POST", f"{stack.guard.url}/get_token", json.dumps(body).encode())
    assert early.status in (401, 403), early.body
    time.sleep(0.5)
    late = stack.ask(stack.synapse.register(name), room, outside=True)
    assert late.status == 403, late.body
    assert late.json()["error"].startswith(said(SENTENCE))
