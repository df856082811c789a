"""What a viewer of the status page is told: all of it once, then what changed."""

import pytest

from lotus_guard.web.status.picture import MOST_TEXT
from tests.web.status.watched import EPOCH, Watched, decision, dependency, room


def test_a_viewer_is_told_everything_at_once(watched: Watched) -> None:
    watched.dependencies = [dependency("synapse", 2.0)]
    watched.decisions = [decision(1)]
    page = watched.open()
    status, headers = page.head()
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert "retry: 2000\n" in page.body()
    ((name, hello),) = page.told()
    assert name == "hello"
    assert hello == {
        "now": EPOCH,
        "guard": {"instance": "i"},
        "rooms": watched.rooms,
        "decisions": watched.decisions,
        "dependencies": [
            {"name": "synapse", "state": "ok", "since": EPOCH - 2.0, "detail": ""},
        ],
    }


def test_then_only_what_changed(watched: Watched) -> None:
    page = watched.open()
    page.told()
    watched.rooms = [room(1), room(2, people=3), room(3)]
    watched.decisions = [decision(2), decision(1)]
    watched.tick()
    assert page.told() == [
        ("rooms", {"changed": [room(2, people=3), room(3)], "gone": []}),
        ("decisions", {"new": [decision(2), decision(1)]}),
    ]
    watched.rooms = [room(3)]
    watched.decisions = [decision(3), decision(2)]
    watched.tick()
    assert page.told() == [
        ("rooms", {"changed": [], "gone": ["!1:s", "!2:s"]}),
        ("decisions", {"new": [decision(3)]}),
    ]


def test_nothing_is_said_because_time_passes(watched: Watched) -> None:
    watched.dependencies = [dependency("synapse", 2.0)]
    page = watched.open()
    page.told()
    for second in range(1, 11):
        # Ages are rounded, and read a little after the clock: the moment wavers.
        watched.dependencies = [dependency("synapse", 2.0 + second + (0.3 if second % 2 else -0.3))]
        watched.tick()
    assert page.told() == []
    watched.dependencies = [dependency("synapse", 0.5)]
    watched.tick()
    ((name, told),) = page.told()
    assert (name, told[0]["since"]) == ("dependencies", EPOCH + 10.5)


@pytest.mark.parametrize("state", ["trouble", "unknown"])
def test_a_state_that_changes_is_told(watched: Watched, state: str) -> None:
    page = watched.open()
    page.told()
    watched.dependencies = [dependency("synapse", None, state)]
    watched.tick()
    expected = {"name": "synapse", "state": state, "since": None, "detail": ""}
    assert page.told() == [("dependencies", [expected])]


def test_texts_are_bounded_and_stay_different(watched: Watched) -> None:
    long = "!" + "x" * 10_000
    watched.rooms = [room(0, room=long + str(n), name=long, users=[long]) for n in range(2)]
    watched.decisions = [{**decision(1), "room": long, "inputs": {"a": [long]}, "user": None}]
    page = watched.open()
    assert len(page.body()) < 12 * MOST_TEXT
    ((_, hello),) = page.told()
    assert len({each["room"] for each in hello["rooms"]}) == 2
    assert hello["decisions"][0]["inputs"]["a"][0].startswith("!xxx")
