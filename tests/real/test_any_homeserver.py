"""The main job with a homeserver that has no admin API: a real Dendrite.

The guard has an application service's token alone. Who asks for a token is the reader of the room.
"""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.real.authorization import authorization
from tests.real.client import Clients
from tests.real.conftest import require_real
from tests.real.delays import policy_to_track_gone
from tests.real.dendrite import Dendrite
from tests.real.processes import until
from tests.real.sfu import LiveKit
from tests.real.stack import NO_VIDEO, Stack, make_guard, milliseconds
from tests.real.test_main_job import BOTH, claims

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


def people_in(stack: Stack, room: str, count: int) -> list[Any]:
    """Register users who are in a Matrix room."""
    users = stack.users(count)
    for user in users:
        stack.synapse.join(user, room)
    return users


@pytest.mark.parametrize("endpoint", BOTH)
def test_a_full_call_refuses(stack: Stack, endpoint: str) -> None:
    room = stack.room(limit={"max_users": 2})
    alice, bob, carol = people_in(stack, room, 3)
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
    (alice,) = people_in(stack, quiet, 1)
    stack.synapse.join(alice, plain)
    assert claims(stack.ask(alice, quiet, endpoint))["video"]["canPublishSources"] == ["microphone"]
    assert "canPublishSources" not in claims(stack.ask(alice, plain, endpoint))["video"]


def test_a_policy_takes_tracks_away_in_a_call(stack: Stack) -> None:
    delays = [policy_to_track_gone(stack) for _ in range(TRIES)]
    print(
        f"\nDendrite, polling alone: policy to track gone, median "
        f"{milliseconds(statistics.median(delays))} ms, worst {milliseconds(max(delays))} ms"
    )
    assert max(delays) < 3.0
