"""Where decisions come from: the running guard, or the state file."""

import json
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred

from lotus_guard.commands.common import Failed
from lotus_guard.commands.explain_source import Wanted, ask_guard, read_state
from lotus_guard.core.model import RoomId
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.neighbours.http import Http
from lotus_guard.rules.decision import Decision
from tests.rulings import seat_refused
from tests.world import World, http_answer, reactor

DECISION = Decision("aaaaaaaa", 1.0, False, seat_refused(RoomId("!r:s"), "@u:s", 2, 2))


@pytest.fixture
def http() -> Any:
    agents = pooled_agents(reactor)
    yield Http(agents.livekit, reactor)
    pytest_twisted.blockon(ensureDeferred(agents.close()))


def test_what_the_guard_is_asked() -> None:
    assert Wanted(reference="k3v2t2xq", user="@u:s").query == "id=k3v2t2xq"
    assert Wanted(user="@u:s", limit=5).query == "user=%40u%3As&limit=5"
    assert Wanted(user="@u:s").in_room("!r&x").query == "user=%40u%3As&room=%21r%26x&limit=20"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "not as a guard does"),
        (b"\xff", "not as a guard does"),
        (b'{"decisions": [{}]}', "not as a guard does"),
        (b'{"decisions": ' + b"[" * 100_000, "not as a guard does"),
        (b'{"decisions": [], "users": "not recorded"}', "users are not recorded"),
    ],
)
async def test_what_is_no_answer_of_a_guard_is_said(
    world: World, http: Http, body: bytes, words: str
) -> None:
    with pytest.raises(Failed, match=words):
        await ask_guard(http, world.serve(http_answer(body)), Wanted(user="@u:s"))


@pytest_twisted.ensureDeferred
async def test_a_guard_that_does_not_know_references_tells_of_no_other(
    world: World, http: Http
) -> None:
    """One of an older release takes no notice of the id, and tells of its last decisions."""
    body = json.dumps({"decisions": [DECISION.as_json()]}).encode()
    address = world.serve(http_answer(body))
    assert (await ask_guard(http, address, Wanted(reference="bbbbbbbb"))).decisions == []
    found = await ask_guard(http, address, Wanted(reference="aaaaaaaa"))
    assert found.decisions == [DECISION]


@pytest_twisted.ensureDeferred
async def test_a_guard_that_is_away_is_an_outage(http: Http) -> None:
    with pytest.raises(Outage):
        await ask_guard(http, "http://127.0.0.1:1", Wanted(user="@u:s"))


def test_a_file_that_is_not_there_is_said_with_why_it_was_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("LOTUS_GUARD_STATE", str(tmp_path / "gone"))
    with pytest.raises(Failed, match=r"it is away, and the state file .*gone cannot be read"):
        read_state(Wanted(user="@u:s"), "it is away")
