"""What guards tell each other: pushes, webhooks, tokens; and what is kept for who is late."""

import pytest_twisted

from lotus_guard.core.directory import Directory
from lotus_guard.core.membership import Membership
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.enforce.transactions import Changes
from lotus_guard.memory.redis_directory import RedisDirectory
from lotus_guard.memory.redis_news import ISSUED_SECONDS, MOST_POLICIES, NewsReader, NewsTeller
from tests.memory.sharing import Heard, Party

ROOM = RoomId("!r:s")
PUSH, HOOK = (b'{"a": "\xff"}', "1.signature"), (b"{\x00}", "a.b.c")


def reader(party: Party, heard: Heard) -> NewsReader:
    kept = RedisDirectory(party.keys, party.reactor)
    kept.open(Directory(listener=kept))
    return NewsReader(party.keys, kept, heard)


def test_the_others_hear_what_one_tells_byte_for_byte() -> None:
    one = Party()
    teller, heard, own = NewsTeller(one.keys, one.now), Heard(), Heard()
    teller.pushed(ROOM, *PUSH)
    teller.hooked(*HOOK)
    teller.issued(ROOM)
    changes = Changes([ROOM], [(ROOM, UserId("@a:s"), Membership.BAN)])
    teller.changed(changes)
    for news in one.told:
        reader(Party(one.memory, "two"), heard).hear(news)
        reader(one, own).hear(news)
    told = [("push", *PUSH), ("webhook", *HOOK), ("issued", ROOM), ("changes", changes)]
    assert heard.all == told
    assert own.all == [], "nobody hears themselves"


def test_of_a_rooms_tokens_the_others_are_told_once_in_a_while() -> None:
    party = Party()
    teller = NewsTeller(party.keys, party.now)
    for _ in range(5):
        teller.issued(ROOM)
    teller.issued(RoomId("!other:s"))
    assert [news["room"] for news in party.told] == [ROOM, "!other:s"]
    party.reactor.advance(ISSUED_SECONDS)
    teller.issued(ROOM)
    assert len(party.told) == 3


@pytest_twisted.ensureDeferred
async def test_the_last_push_for_a_room_is_kept_for_who_starts_later() -> None:
    one = Party()
    teller, heard = NewsTeller(one.keys, one.now), Heard()
    teller.pushed(ROOM, b"old", "1.x")
    teller.pushed(None, b"of no room", "2.x")
    teller.pushed(ROOM, *PUSH)
    reader(Party(one.memory, "two"), heard).listen()
    assert heard.all == [("old push", *PUSH)]
    assert one.memory.ends["p:policies"] > 0.0


@pytest_twisted.ensureDeferred
async def test_pushes_are_kept_within_a_bound() -> None:
    party = Party()
    teller = NewsTeller(party.keys, party.now)
    party.memory.keys["p:policies"] = dict.fromkeys(map(str, range(MOST_POLICIES)), "")
    await teller.trim()
    assert len(party.memory.keys["p:policies"]) == MOST_POLICIES
    party.memory.keys["p:policies"]["one more"] = ""
    await teller.trim()
    assert "p:policies" not in party.memory.keys


def test_news_that_makes_no_sense_is_nobodys() -> None:
    party, heard = Party(), Heard()
    for news in (
        {},
        {"kind": 7},
        {"kind": "weird", "from": "x"},
        {"kind": "alias", "alias": 3, "place": None},
        {"kind": "identity", "alias": "a", "identity": [], "user": "@u:s"},
    ):
        reader(party, heard).hear(news)
    assert heard.all == []
    assert party.told == []


def test_of_changes_what_makes_no_sense_is_passed_over() -> None:
    party, heard = Party(), Heard()
    strange = [["!r:s", "@a:s", "gone"], ["!r:s", "@a:s"], 3, [1, 2, 3], ["!r:s", "@b:s", "join"]]
    for news in ({}, {"rooms": 3, "members": {}}, {"rooms": [3, ROOM], "members": strange}):
        reader(party, heard).hear({"kind": "changes", **news})
    empty = Changes([], [])
    last = Changes([ROOM], [(ROOM, UserId("@b:s"), Membership.JOIN)])
    assert heard.all == [("changes", empty), ("changes", empty), ("changes", last)]
