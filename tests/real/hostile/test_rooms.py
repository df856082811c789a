"""Rooms as a weapon: invented ones, crowded ones, restless ones. The others are watched as ever."""

import time
from collections.abc import Iterator

import pytest

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import livekit_room_of
from tests.real.conftest import require_real
from tests.real.delays import policy_to_track_gone
from tests.real.hostile.flood import flood, knock
from tests.real.processes import until
from tests.real.stack import LIMIT, NO_VIDEO, QUALITY, Stack, milliseconds, running_stack

ENFORCED = 3.0
"""Seconds that a forbidden camera may live by polling, as in peace."""


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """LiveKit's webhooks and no module in Synapse: policies are polled."""
    require_real()
    with running_stack(tmp_path_factory.mktemp("hooked"), hooks=True) as running:
        yield running


def test_invented_rooms_in_ascending_order_keep_nobody_waiting(stack: Stack) -> None:
    (mallory,) = stack.users(1)
    domain = stack.synapse.name

    def invent(number: int) -> None:
        # Refused, but not before lk-jwt-service has made the LiveKit room.
        assert stack.ask(mallory, f"!{number:06}:{domain}").status == 403

    with flood(invent, rate=40.0) as invented:
        until("the flood has begun", lambda: len(invented) > 80)
        lived = [policy_to_track_gone(stack) for _ in range(3)]
    print(
        f"\ninvented rooms at 40/s ({len(invented)} of them): a forbidden camera lived "
        f"{[milliseconds(each) for each in lived]} ms"
    )
    assert max(lived) < ENFORCED


def test_restless_rooms_of_ones_own_keep_no_worker_from_the_others(hooked: Stack) -> None:
    """Connect and close in four rooms with a policy and many slots: each look at them is dear."""
    (mallory,) = hooked.users(1)
    tokens = []
    for _ in range(4):
        room = hooked.room(limit={"max_users": 2})
        slots = [hooked.ask(mallory, room, slot=f"slot{n}").json()["jwt"] for n in range(60)]
        tokens.append(slots[0])

    with flood(lambda n: knock(hooked.livekit.url, tokens[n % 4]), rate=160.0, threads=8) as knocks:
        until("the churn has begun", lambda: len(knocks) > 60)
        lived = [policy_to_track_gone(hooked) for _ in range(3)]
    print(
        f"\nfour restless rooms ({len(knocks)} knocks): a forbidden camera lived "
        f"{[milliseconds(each) for each in lived]} ms"
    )
    assert max(lived) < ENFORCED


def test_a_slot_beyond_the_sixteenth_is_looked_at_like_any_other(stack: Stack) -> None:
    """An old token for one of many slots: LiveKit's count of who is there is 5 s old."""
    alice, bob = stack.users(2)
    room = stack.room()
    drawers = [
        stack.ask(alice, room, slot=f"slot{number:02}", member=f"m{number}").json()["jwt"]
        for number in range(30)
    ]
    stack.set_policy(room, QUALITY, NO_VIDEO)
    bob_in = stack.join(bob, room)
    until("the guard knows", lambda: stack.ask(bob, room).json()["jwt"] and True)
    lived = []
    for number in (20, 25, 29):
        alice_in = stack.join_with(drawers[number])
        livekit_room = livekit_room_of(RoomId(room), f"slot{number:02}")
        begun = time.monotonic()
        # Refused, should a pass have come in between; or taken before its media are there.
        alice_in.publish("video", "camera")
        until("the camera is gone", lambda: is_barred(stack, livekit_room), 20.0)  # noqa: B023
        lived.append(time.monotonic() - begun)
        alice_in.disconnect()
    bob_in.disconnect()
    print(f"\na camera in the 21st and later slots lived {[milliseconds(s) for s in lived]} ms")
    assert max(lived) < ENFORCED


def is_barred(stack: Stack, livekit_room: str) -> bool:
    """Whether the one who is there may publish no camera, and publishes none."""
    (there,) = stack.livekit.participants(livekit_room)
    return there["permission"]["can_publish_sources"] == ["MICROPHONE"] and not there.get("tracks")


def test_rooms_with_a_policy_and_nobody_in_them_cost_a_pass_nothing(stack: Stack) -> None:
    (alice,) = stack.users(1)
    rooms = [stack.room(limit={"max_users": 2}) for _ in range(10)]
    for room in rooms:
        assert stack.ask(alice, room).status == 200

    def calls() -> dict[str, float]:
        found = stack.guard.metrics()
        names = (
            'lotus_guard_livekit_calls_total{method="ListParticipants"}',
            f'lotus_guard_synapse_calls_total{{method="{LIMIT}"}}',
        )
        return {name: found.get(name, 0.0) for name in names}

    def is_quiet() -> bool:
        before = calls()
        time.sleep(4.5)  # two passes
        return calls() == before

    until("nothing is asked any more", is_quiet, 40.0)
