"""Claims at hand: bounded, found by LiveKit room, and told where they are written down."""

from typing import Any

import pytest_twisted

from lotus_guard.core.claim import OVER, Claim, Issue
from lotus_guard.core.lru import weight
from lotus_guard.core.model import Grant, Identity, LiveKitRoom
from lotus_guard.enforce.claims import CLAIM, Claims, Key, LocalClaims

CALL, OTHER = LiveKitRoom("call"), LiveKitRoom("other")
ALL, SOUND = Grant(True, ()), Grant(True, ("microphone",))
NOW = 1000.0
OWING = Issue(ALL, SOUND, NOW, NOW + 300.0).after(None)
WHOLE = Issue(ALL, ALL, NOW, NOW + 300.0).after(None)


def key(name: str = "a", livekit_room: LiveKitRoom = CALL) -> Key:
    return livekit_room, Identity(name)


def test_what_is_put_is_found_where_it_is() -> None:
    claims = Claims()
    claims.put(key("a"), WHOLE)
    claims.put(key("b"), OWING)
    claims.put(key("a", OTHER), OWING)
    assert claims.get(key("a")) == WHOLE
    assert claims.identities_in(CALL) == {"a", "b"}
    assert len(claims) == 3
    assert dict(claims.items()).keys() == {key("a"), key("b"), key("a", OTHER)}
    claims.forget([CALL, LiveKitRoom("of nobody")])
    assert claims.get(key("a")) is None
    assert claims.identities_in(CALL) == set()
    assert not claims.owes(CALL, NOW)
    claims.clear()
    assert len(claims) == 0


def test_a_room_owes_while_somebody_there_may_hold_less() -> None:
    claims = Claims()
    claims.put(key("a"), WHOLE)
    assert not claims.owes(CALL, NOW)
    claims.put(key("b"), OWING)
    assert claims.owes(CALL, NOW)
    assert not claims.owes(OTHER, NOW)
    assert not claims.owes(CALL, NOW + 1000.0)
    claims.put(key("b"), OVER)
    assert not claims.owes(CALL, NOW)


def test_only_so_many_are_kept_and_whoever_wrote_them_down_is_told() -> None:
    dropped: list[Any] = []
    claims = Claims(lambda *gone: dropped.append(gone), most=2)
    for name in "abc":
        claims.put(key(name), OWING)
    assert dropped == [key("a")]
    assert claims.identities_in(CALL) == {"b", "c"}
    bounded = Claims(most_bytes=2 * (weight(*key("a")) + CLAIM))
    for name in "abc":
        bounded.put(key(name), OWING)
    assert len(bounded) == 2


@pytest_twisted.ensureDeferred
async def test_one_guard_alone_changes_them_at_once_and_writes_down_what_changes() -> None:
    kept: list[tuple[Key, Claim]] = []
    store = LocalClaims(Claims(), lambda *what: kept.append(what))
    assert await store.change(key(), lambda claim: claim) is None
    assert await store.change(key(), lambda _claim: OWING) == OWING
    assert await store.change(key(), lambda claim: claim) == OWING
    assert kept == [(key(), OWING)]
    assert await store.find(key(), "S") == OWING
    await store.load([CALL])
    store.step_down()
    assert await store.find(key(), "S") == OWING, "nobody else changes them"
    store.forget([CALL])
    assert await store.find(key(), "S") is None
