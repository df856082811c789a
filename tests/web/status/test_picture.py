"""What a viewer of the status page is told: all of it once, then what changed."""

import pytest

from lotus_guard.web.status.picture import MOST_TEXT
from tests.web.status.watched import EPOCH, Watched, decision, dependency, room


def test_a_viewer_is_told_everything_at_once(watched: Watched) -> None:
    watched.dependencies = [dependency("synapse", 2.0)]
    watched.decisions = [decision(1)]
    watched.hour = [{"at": 60, "refused": 1}]
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
            {
                "name": "synapse",
                "state": "ok",
                "since": EPOCH - 2.0,
                "down_since": None,
                "detail": "",
            },
        ],
        "hour": [{"at": 60, "refused": 1}],
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
    expected = {"name": "synapse", "state": state, "since": None, "down_since": None, "detail": ""}
    assert page.told() == [("dependencies", [expected])]


def test_the_moment_of_a_failure_is_told_once(watched: Watched) -> None:
    watched.dependencies = [{**dependency("synapse", 2.0, "trouble"), "down": 1.0}]
    page = watched.open()
    page.told()
    for second in range(1, 6):
        ages = {"age": 2.0 + second, "down": 1.0 + second + (0.3 if second % 2 else -0.3)}
        watched.dependencies = [{**dependency("synapse", None, "trouble"), **ages}]
        watched.tick()
    assert page.told() == []
    later = watched.open()
    ((_, hello),) = later.told()
    assert hello["dependencies"][0]["down_since"] == EPOCH - 1.0


def test_of_the_hour_only_minutes_are_told_that_changed(watched: Watched) -> None:
    old, minute = {"at": 60, "refused": 1}, {"at": 120, "refused": 0}
    watched.hour = [old, minute]
    page = watched.open()
    page.told()
    watched.tick()
    assert page.told() == []
    watched.hour = [old, {**minute, "refused": 2}, {"at": 180, "refused": 0}]
    watched.tick()
    assert page.told() == [("hour", watched.hour[1:])]


def test_texts_are_bounded_and_stay_different(watched: Watched) -> None:
    long = "!" + "x" * 10_000
    watched.rooms = [room(0, room=long + str(n), name=long, users=[long]) for n in range(2)]
    watched.decisions = [{**decision(1), "room": long, "inputs": {"a": [long]}, "user": None}]
    page = watched.open()
    assert len(page.body()) < 12 * MOST_TEXT
    ((_, hello),) = page.told()
    assert len({each["room"] for each in hello["rooms"]}) == 2
    assert hello["decisions"][0]["inputs"]["a"][0].startswith("!xxx")
