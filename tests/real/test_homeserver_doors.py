"""Both doors at once on a real stack, slots for data, `check`, and what the guard adds in time."""

import random
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import define, frozen

from tests.real.by_homeserver import ask, members
from tests.real.client import Client
from tests.real.conftest import require_real
from tests.real.homeserver import User
from tests.real.processes import until
from tests.real.stack import LIMIT, NO_VIDEO, Behind, Stack, milliseconds, running_stack
from tests.real.switch import Switch, a_switch
from tests.real.test_check import Wired
from tests.real.test_main_job import claims

BOARD = "org.example.whiteboard#1"
SEEN = 10.0
DOORS = ("/get_token", "/sfu/get", "homeserver")
ROUNDS, PER_ROUND = 5, 12


@define(eq=False)
class Doors:
    """A stack with both doors, and the way from the homeserver to it."""

    stack: Stack
    switch: Switch

    def past_the_guard(self) -> None:
        """Have the homeserver hand on to lk-jwt-service itself."""
        self.switch.lead_to(self.stack.upstream.port)

    def to_the_guard(self) -> None:
        self.switch.lead_to(self.stack.homeserver_port)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    require_real()
    directory: Path = tmp_path_factory.mktemp("doors")
    settings: Any = {"LOTUS_GUARD_DATA_SLOTS": "org.example.whiteboard"}
    with (
        a_switch() as switch,
        running_stack(directory, behind=Behind(switch), **settings) as stack,
    ):
        yield Doors(stack, switch)


@pytest.fixture
def stack(doors: Doors) -> Stack:
    return doors.stack


@frozen
class Knock:
    """One request: who, at which door, from which device."""

    user: User
    door: str
    device: str

    def status(self, stack: Stack, room: str) -> int:
        if self.door == "homeserver":
            return ask(stack, self.user, room, member_id=self.device).status
        return stack.ask(self.user, room, self.door, device=self.device).status


def test_whatever_the_door_no_more_people_get_in_than_may(stack: Stack) -> None:
    seed = random.randrange(2**32)
    print(f"\nseed {seed}")
    dice = random.Random(seed)
    room = stack.room(limit={"max_users": 3})
    people = members(stack, room, 7)
    for user in people:
        stack.request(user, room)  # their OpenID tokens are there, for all threads
    every = [Knock(u, door, device) for u in people for door in DOORS for device in "AB"]
    dice.shuffle(every)
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda knock: knock.status(stack, room), every))
        again = list(pool.map(lambda knock: knock.status(stack, room), every))
    for statuses in (first, again):
        assert set(statuses) == {200, 403}
        pairs = list(zip(every, statuses, strict=True))
        admitted = {knock.user.user_id for knock, status in pairs if status == 200}
        refused = {knock.user.user_id for knock, status in pairs if status == 403}
        assert len(admitted) == 3
        assert not admitted & refused, "who has a seat has it at every door"
    failed = [name for name in stack.guard.metrics() if "fail_open_total{" in name]
    assert failed == []


def on_board(stack: Stack, user: User, room: str, **more: Any) -> Client:
    answer = ask(stack, user, room, slot_id=BOARD, **more)
    assert answer.status == 200, answer.body
    return stack.join_with(answer.json()["jwt"])


def test_in_a_slot_for_data_nobody_talks_and_nobody_takes_a_seat(stack: Stack) -> None:
    room = stack.room(limit={"max_users": 1})
    alice, bob, carol = members(stack, room, 3)
    writer, reader = on_board(stack, bob, room), on_board(stack, carol, room)
    until("both are there", lambda: len(stack.identities(room, BOARD)) == 2)
    assert writer.share("a line")["ok"]
    reader.hears("data", text="a line")
    assert writer.publish("audio", "microphone").get("refused")
    assert writer.publish("video", "camera").get("refused")
    assert ask(stack, alice, room).status == 200, "the seat is free"
    assert ask(stack, bob, room).status == 403
    assert stack.ask(bob, room).status == 403
    assert ask(stack, bob, room, slot_id="org.example.white").status == 403, "another slot"
    writer.disconnect()
    reader.disconnect()


def test_a_limit_that_comes_later_silences_a_slot_for_data(stack: Stack) -> None:
    room = stack.room()
    bob, carol = members(stack, room, 2)
    writer, reader = on_board(stack, bob, room), on_board(stack, carol, room)
    assert writer.publish("audio", "microphone")["ok"]

    def tracks() -> int:
        return sum(len(each.get("tracks", [])) for each in stack.on(room, BOARD))

    until("they talk", tracks)
    stack.set_policy(room, LIMIT, {"max_users": 1})
    begun = time.monotonic()
    until("nobody talks", lambda: not tracks(), SEEN)
    print(f"\nFIGURE a slot for data is silent {time.monotonic() - begun:.1f} s after the limit")
    assert writer.share("a line")["ok"]
    reader.hears("data", text="a line")
    assert len(stack.identities(room, BOARD)) == 2, "nobody is put out"
    writer.disconnect()
    reader.disconnect()


def test_sources_hold_in_a_slot_for_data(stack: Stack) -> None:
    room = stack.room(quality=NO_VIDEO)
    (bob,) = members(stack, room, 1)
    found = claims(ask(stack, bob, room, slot_id=BOARD))
    assert found["video"]["canPublishSources"] == ["microphone"]
    client = on_board(stack, bob, room)
    assert client.publish("audio", "microphone")["ok"]
    assert client.publish("video", "camera").get("refused")
    client.disconnect()


def test_check_says_where_calls_go_past_the_guard(doors: Doors) -> None:
    wired = Wired(doors.stack, doors.stack.synapse.register())
    print("\nproxy_url leads to lk-jwt-service:")
    doors.past_the_guard()
    try:
        code, findings = wired.check()
    finally:
        doors.to_the_guard()
    past = findings["homeserver-route"]
    assert (code, past["level"]) == (2, "fault")
    assert "bypass the guard" in past["seen"]
    assert "io.element.msc4512.proxy_url" in past["wanted"]
    print("proxy_url leads to the guard:")
    _, findings = wired.check()
    for name in ("homeserver-port", "homeserver-route", "homeserver-scope", "homeserver-url"):
        print(f"  {findings[name]['level']:<8} {name:<22} {findings[name]['seen']}")
        assert findings[name]["level"] == "ok"


def test_what_the_guard_adds_behind_synapse(doors: Doors) -> None:
    """Reports a figure; asserts that both ways work, and which one was gone."""
    stack = doors.stack
    room = stack.room(limit={"max_users": 5}, quality=NO_VIDEO)
    (alice,) = members(stack, room, 1)
    took: dict[str, list[float]] = {"without": [], "with": []}
    for number in range(ROUNDS):
        for name, lead in (("without", doors.past_the_guard), ("with", doors.to_the_guard)):
            lead()
            time.sleep(0.1)  # Synapse learns that its connections have ended
            for turn in range(PER_ROUND):
                begun = time.perf_counter()
                answer = ask(stack, alice, room)
                seconds = time.perf_counter() - begun
                assert answer.status == 200, answer.body
                is_judged = claims(answer)["video"].get("canPublishSources") == ["microphone"]
                assert is_judged == (name == "with"), number
                if turn > 1:
                    took[name].append(seconds)
    medians = {name: milliseconds(statistics.median(each)) for name, each in took.items()}
    added = medians["with"] - medians["without"]
    print(f"\nFIGURE a token through Synapse, ms at the median: {medians}, added {added:.1f}")
