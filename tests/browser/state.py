"""What the page is given to show in tests."""

import time
from collections.abc import Sequence
from typing import Any

from lotus_guard.core.model import Source
from lotus_guard.observe.rooms import described
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.media import Media, SourcePolicy
from lotus_guard.rules.rule import Rule


def policy_of(max_users: int | None, forbidden: Sequence[str]) -> list[dict[str, Any]]:
    """The policy of a room as the guard describes it."""
    limit = LimitPolicy(max_users)
    sources = SourcePolicy(frozenset(map(Source, forbidden)))
    pairs: list[tuple[Rule[Any], Any]] = [(Limit(), limit), (Media(), sources)]
    return [described(rule, policy) for rule, policy in pairs if policy.restricts]


def room(number: int, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "policy": policy_of(more.get("max_users"), more.get("forbidden", ())),
        "room": f"!{number:04}:example.org",
        "name": name,
        "people": 1,
        "users": [],
        "taken": None,
        "max_users": None,
        "forbidden": [],
        "refused": 0,
        "narrowed": 0,
        "steps": 0,
        "failed_open": 0,
        "rules_lost_of": None,
        "strangers": 0,
        "refused_at": None,
        "failed_open_at": None,
        "full_since": None,
        **more,
    }


def decision(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"k3v9t{number:03}",
        "at": time.time() - number,
        "kind": "refused",
        "rule": "limit",
        "observed": False,
        "room": "!0001:example.org",
        "user": "@carol:example.org",
        "verdict": "refused",
        "why": "2 in the call or about to join, 2 allowed, this user not among them",
        "inputs": {"max_users": 2, "taken": 2, "is_seated": False},
        "people": ["@alice:example.org", "@bob:example.org"],
        **more,
    }


def dependency(
    name: str,
    state: str = "ok",
    age: float | None = 1.0,
    detail: str = "",
    down: float | None = None,
) -> Any:
    return {"name": name, "state": state, "age": age, "detail": detail, "down": down}


def hour(now: float) -> list[dict[str, Any]]:
    """An hour in which people came, a room filled up, and Synapse went down at the end.

    Nothing happens in its first minute: a test may still run in the minute after its last.
    """
    newest = int(now // 60) * 60
    return [
        {
            "at": newest - 60 * ago,
            "refused": max(0, 8 - abs(ago - 22)) + (ago % 7 == 5),
            "changed": (ago * 7 + 2) % 5 + (12 if ago in (40, 41) else 0),
            "unguarded": 3 - ago if ago < 3 else 0,
            "observed": 0,
            "people": 50 - ago // 2 + (ago * 3) % 4,
        }
        for ago in range(59, -1, -1)
    ]


def people(*names: str) -> list[str]:
    return [f"@{name}:example.org" for name in names]


SCREEN = ["screen_share", "screen_share_audio"]


def evening() -> dict[str, Any]:
    """An ordinary evening with one trouble in it."""
    now = time.time()
    kitchen = people("alice", "bob", "carol", "dmitri", "eşref")
    return {
        "guard": {
            "instance": "k3v9t2xq",
            "pid": 4711,
            "version": "0.2.0",
            "store": "State file",
            "started": now - 86400 * 3,
            "rules": {"limit": "enforce", "sources": "enforce", "live": "observe"},
            "titles": {"limit": "Seat limit", "sources": "Camera and screen"},
        },
        "dependencies": [
            dependency("upstream"),
            dependency("synapse", "trouble", 131.0, "timeout: no answer within 1.0 s", 121.0),
            dependency("livekit"),
            dependency("store", age=8.0),
            dependency("loop", age=2.0),
            dependency("webhooks", age=14.0),
            dependency("pushes", "off", None, "LOTUS_GUARD_PUSH_SECRET is not set"),
        ],
        "hour": hour(now),
        "rooms": [
            room(
                1,
                "Kitchen",
                people=5,
                users=kitchen,
                taken=5,
                max_users=5,
                refused=3,
                refused_at=now - 41,
                full_since=now - 1500,
            ),
            room(2, "Reading circle", people=4, users=kitchen[:4], taken=4, max_users=12),
            room(
                3,
                "Choir rehearsal",
                people=9,
                users=people(*"abcdefghi"),
                forbidden=["camera", *SCREEN],
                narrowed=14,
                steps=2,
            ),
            room(
                4,
                "Board, in private",
                people=2,
                users=kitchen[1:3],
                taken=2,
                max_users=3,
                forbidden=SCREEN,
                failed_open=1,
                failed_open_at=now - 67,
            ),
            room(5, "مجلس العائلة", people=3, users=kitchen[:3], taken=3, max_users=8),
            room(6, "Lounge", people=17),
            room(7, "Friday games", people=8),
            room(8, None, people=2),
        ],
        "decisions": [
            decision(
                41,
                room="!0001:example.org",
                why="5 in the call or about to join, 5 allowed, this user not among them",
            ),
            decision(
                67,
                kind="fail_open",
                room="!0004:example.org",
                user="@bob:example.org",
                verdict="let through",
                why="timeout: Synapse did not answer within 1.0 s",
                inputs={"reason": "timeout"},
            ),
            decision(
                158,
                kind="changed",
                rule="sources",
                room="!0003:example.org",
                user="@greta:example.org",
                verdict="may publish microphone, valid for 300 s",
                why="the room forbids camera, screen_share, screen_share_audio",
            ),
            decision(
                322,
                kind="step",
                rule="sources",
                observed=True,
                room="!0003:example.org",
                user="@hugo:example.org",
                verdict="narrowed: may publish microphone",
                why="the room forbids camera, screen_share, screen_share_audio",
            ),
            decision(
                1207,
                room="!0001:example.org",
                user="@ines:example.org",
                why="5 in the call or about to join, 5 allowed, this user not among them",
            ),
        ],
    }


def calm() -> dict[str, Any]:
    """The same evening without the trouble."""
    state = evening()
    state["dependencies"][1] = dependency("synapse")
    for each in state["rooms"]:
        each |= {"failed_open": 0, "failed_open_at": None}
    state["decisions"] = [each for each in state["decisions"] if each["kind"] != "fail_open"]
    state["hour"] = [{**each, "unguarded": 0} for each in state["hour"]]
    return state


NAMES = (
    "Kitchen, Reading circle, Choir rehearsal, Board, Lounge, Friday games, Parents, Chess, "
    "Garden, Night shift, Help desk, Studio, Seminar, Stand-up, Workshop"
)


def town() -> dict[str, Any]:
    """Three hundred rooms, some of them full, two unguarded; and refusals by the dozen."""
    state, now, names = evening(), time.time(), NAMES.split(", ")
    rooms = []
    for n in range(300):
        most = (None, 3, 5, 8, 12)[n * 7 % 5]
        there = n * 5 % ((most or 9) + 1)
        is_full = most is not None and there == most
        refused = n % 8 if is_full and n % 3 == 0 else 0
        is_open = n in (17, 141)
        rooms.append(
            room(
                n,
                f"{names[n % len(names)]} {n // len(names) + 1}",
                people=there,
                taken=there if most else None,
                max_users=most,
                forbidden=SCREEN if n % 4 == 0 else [],
                refused=refused,
                refused_at=now - n if refused else None,
                full_since=now - 60 * (n % 50) - 60 if is_full else None,
                failed_open=2 if is_open else 0,
                failed_open_at=now - 67 if is_open else None,
            )
        )
    full = [each for each in rooms if each["refused"]]
    storm = [
        decision(n // 20, id=f"t{n}", user=f"@u{n}:example.org", **_full(full[n * n % len(full)]))
        for n in range(180)
    ]
    state["hour"] = [{**each, "people": 20 * each["people"]} for each in state["hour"]]
    state["decisions"][1] |= {"room": rooms[17]["room"]}
    return {**state, "rooms": rooms, "decisions": [*storm, *state["decisions"]]}


def _full(each: dict[str, Any]) -> dict[str, Any]:
    most = each["max_users"]
    why = f"{most} in the call or about to join, {most} allowed, this user not among them"
    return {"room": each["room"], "why": why}
