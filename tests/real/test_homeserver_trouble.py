"""Behind a real Synapse where somebody hangs, or where Synapse lets few requests through."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.real.by_homeserver import ask, members
from tests.real.conftest import require_real
from tests.real.homeserver import User
from tests.real.processes import Answer, Process
from tests.real.stack import Behind, Stack, running_stack

SYNAPSES_DEFAULT = {"per_second": 0.2, "burst_count": 10}
"""Its `rc_message`."""
WANTED_PER_SECOND, WANTED_BURST = 5, 50
"""What `lotus-guard check` asks for instead."""
ASKS = 120
"""Of one user; the guard gives them 128 identities in a room."""


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    require_real()
    way = Behind(messages=SYNAPSES_DEFAULT)
    with running_stack(tmp_path_factory.mktemp("trouble"), behind=way) as running:
        running.synapse.slow_down(running.synapse.admin, 0)
        yield running


def answers_of(stack: Stack, asks: list[tuple[User, str, str]]) -> list[Answer]:
    """Ask for many tokens at the same time: who, for which room, as which member."""
    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(lambda each: ask(stack, *each[:2], member_id=each[2]), asks))


def too_many(stack: Stack) -> float:
    """How many requests the guard itself has answered with 429."""
    found = stack.guard.metrics().items()
    name = "lotus_guard_requests_total"
    return sum(value for key, value in found if key.startswith(name) and 'status="429"' in key)


def test_ten_people_at_once_are_not_too_many_for_synapse(behind: Stack) -> None:
    room = behind.room(limit={"max_users": 10})
    people = members(behind, room, 10)
    answers = answers_of(behind, [(user, room, "m1") for user in people])
    assert [answer.status for answer in answers] == [200] * 10
    (late,) = members(behind, room, 1)
    assert ask(behind, late, room).status == 403
    assert too_many(behind) == 0.0


def test_two_joins_of_one_user_are_too_many_for_synapses_default(behind: Stack) -> None:
    """Element Call asks six times in a join; whom Synapse refuses never reaches the guard."""
    room = behind.room(limit={"max_users": 5})
    alice, bob, carol = members(behind, room, 3)
    many = [(alice, room, f"m{number}") for number in range(12)]
    found = Counter(answer.status for answer in answers_of(behind, many))
    print(f"\nFIGURE Synapse's default rc_message, 12 at once of one user: {dict(found)}")
    assert found[429] >= 1
    assert found[200] + found[429] == 12
    assert ask(behind, bob, room).status == 200, "somebody else's are not used up"
    behind.synapse.slow_down(carol, WANTED_PER_SECOND, WANTED_BURST)
    many = [(carol, room, f"m{number}") for number in range(12)]
    assert [answer.status for answer in answers_of(behind, many)] == [200] * 12
    assert too_many(behind) == 0.0


def asked_while_hanging(
    behind: Stack, process: Process, user: User, room: str
) -> tuple[Answer, float]:
    """Ask while a process hangs; returns the answer, and how many seconds it took."""
    process.pause()
    try:
        begun = time.monotonic()
        return ask(behind, user, room), time.monotonic() - begun
    finally:
        process.go_on()


def test_where_lk_jwt_service_hangs_the_answer_is_ours(behind: Stack) -> None:
    room = behind.room()
    (alice,) = members(behind, room, 1)
    answer, seconds = asked_while_hanging(behind, behind.upstream, alice, room)
    print(f"\nFIGURE lk-jwt-service hangs: {answer.status} {answer.body!r} after {seconds:.1f} s")
    assert answer.status in (502, 504)
    assert "call service" in answer.json()["error"]
    assert 15.0 < seconds < 25.0, "Synapse gives up after 30 s"
    assert ask(behind, alice, room).status == 200


def test_where_the_guard_is_down_synapse_says_so_at_once(behind: Stack) -> None:
    room = behind.room(limit={"max_users": 1})
    alice, bob = members(behind, room, 2)
    behind.guard.process.stop()
    try:
        begun = time.monotonic()
        assert ask(behind, alice, room).status >= 500
        assert time.monotonic() - begun < 5.0
    finally:
        behind.guard.process.start()
    assert ask(behind, alice, room).status == 200
    assert ask(behind, bob, room).status == 403


def test_where_the_guard_hangs_synapse_gives_up_and_calls_work_again(behind: Stack) -> None:
    room = behind.room(limit={"max_users": 1})
    alice, bob = members(behind, room, 2)
    answer, seconds = asked_while_hanging(behind, behind.guard.process, alice, room)
    print(f"\nFIGURE the guard hangs: {answer.status} {answer.body!r} after {seconds:.1f} s")
    assert answer.status >= 500
    assert 25.0 < seconds < 35.0
    assert ask(behind, alice, room).status == 200
    assert ask(behind, bob, room).status == 403


def test_a_user_who_asks_without_end_keeps_nobody_else_waiting(behind: Stack) -> None:
    """Both come from one address, the homeserver's."""
    room = behind.room(limit={"max_users": 5})
    alice, bob = members(behind, room, 2)
    behind.synapse.slow_down(alice, 0)
    with ThreadPoolExecutor(24) as pool:
        flood = [pool.submit(ask, behind, alice, room, member_id=f"m{n}") for n in range(ASKS)]
        time.sleep(0.2)
        begun = time.monotonic()
        assert ask(behind, bob, room).status == 200
        seconds = time.monotonic() - begun
        left = sum(not each.done() for each in flood)
        found = Counter(each.result().status for each in flood)
    print(f"\nFIGURE 24 at once of one user: another's takes {seconds:.2f} s; {dict(found)}")
    assert left, "alice was still asking"
    assert found[200] + found[429] == ASKS
