"""Synapse as the guard asks it: every answer is one, or an outage that says what is wrong."""

import json
from math import inf
from typing import Any

import pytest
from twisted.internet.task import Clock

from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import CREATE, POWER_LEVELS
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.ports import MayNotLook, Outage, Reason
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.our_server import OurServer
from lotus_guard.neighbours.synapse import SOURCE, Synapse
from lotus_guard.rules.limit import Limit
from tests.neighbours.answering import Answer, Answering, answering, outcome_of, result_of

ROOM = RoomId("!a:s")
USER = UserId("@alice:s")
LIMIT = Limit()


def synapse(agent: Answering, **more: Any) -> Synapse:
    token = more.pop("token", None) or Credential("TOKEN", "secret")
    return Synapse(Http(agent, Clock()), "http://s", token, 1.0, **more)


def said(status: int = 200, **fields: Any) -> Answer:
    return Answer(status, json.dumps(fields).encode())


def event(event_type: str, content: Any) -> dict[str, Any]:
    return {"type": event_type, "state_key": "", "content": content, "origin_server_ts": 7000}


def test_a_policy_is_read_by_its_rule() -> None:
    agent = answering(said(state=[event(LIMIT.event, {"max_users": 3})]))
    calls: list[str] = []
    ends: list[Any] = []
    client = synapse(agent, on_call=calls.append, on_end=ends.append)
    assert result_of(client.policy(ROOM, LIMIT)).policy.max_users == 3
    (asked,) = agent.asked
    assert asked.uri == b"http://s/_synapse/admin/v1/rooms/%21a%3As/state?type=io.lotus.voice_limit"
    assert asked.headers.getRawHeaders(b"Authorization") == [b"Bearer secret"]
    assert (calls, ends) == ([LIMIT.event], [None])


def test_a_room_that_cannot_be_is_never_asked_for() -> None:
    agent = answering()
    assert result_of(synapse(agent).policy(RoomId("no room"), LIMIT)).is_unknown
    assert agent.asked == []


def test_an_unknown_room_is_an_answer() -> None:
    for answer in (said(404, errcode="M_NOT_FOUND"), said(400, errcode="M_INVALID_PARAM")):
        assert result_of(synapse(answering(answer)).policy(ROOM, LIMIT)).is_unknown


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said(401, errcode="M_UNKNOWN_TOKEN"), Reason.UNAUTHORIZED),
        (said(403, errcode="M_FORBIDDEN"), Reason.UNAUTHORIZED),
        (said(404, errcode="M_UNRECOGNIZED"), Reason.NOT_FOUND),
        (Answer(404, b"<html>"), Reason.NOT_FOUND),
        (said(502), Reason.SERVER_ERROR),
        (said(200), Reason.GARBAGE),
        (said(200, state={}), Reason.GARBAGE),
        (Answer(200, b"[]"), Reason.GARBAGE),
        (said(302), Reason.GARBAGE),
    ],
)
def test_whatever_else_it_answers_is_an_outage(answer: Answer, reason: Reason) -> None:
    ends: list[Any] = []
    with pytest.raises(Outage) as raised:
        result_of(synapse(answering(answer), on_end=ends.append).policy(ROOM, LIMIT))
    assert raised.value.reason is reason
    assert ends == [raised.value]


def test_a_token_that_was_renewed_is_tried_within_the_same_deadline() -> None:
    token: Credential[str] = Credential("TOKEN", "old", read=lambda: "new", now=lambda: 1.0)
    agent = answering(said(401), said(state=[]))
    result_of(synapse(agent, token=token).policy(ROOM, LIMIT))
    sent = [asked.headers.getRawHeaders(b"Authorization") for asked in agent.asked]
    assert sent == [[b"Bearer old"], [b"Bearer new"]]


def test_a_token_that_was_not_renewed_is_not_tried_again() -> None:
    agent = answering(said(401))
    with pytest.raises(Outage):
        result_of(synapse(agent).policy(ROOM, LIMIT))
    assert len(agent.asked) == 1


@pytest.mark.parametrize(
    ("name", "alias", "wanted"),
    [
        ({"name": "Lounge"}, {"alias": "#a:s"}, "Lounge"),
        ({"name": ""}, {"alias": "#a:s"}, "#a:s"),
        ({"name": 7}, {"alias": None}, None),
        ({"name": "x" * 1000}, {}, "x" * 200),
    ],
)
def test_a_room_has_its_name_or_its_alias_or_none(name: Any, alias: Any, wanted: Any) -> None:
    states = [
        said(state=[event("m.room.name", name)]),
        said(state=[event("m.room.canonical_alias", alias)]),
    ]
    assert result_of(synapse(answering(*states)).name(ROOM)) == wanted


def test_rooms_come_page_by_page_and_what_is_no_room_is_left_out() -> None:
    page = said(rooms=[{"room_id": "!a:s"}, {"room_id": 7}, "x", {}], next_batch=500)
    assert result_of(synapse(answering(page)).rooms(0)) == ([ROOM], 500)
    assert result_of(synapse(answering(said(rooms=[]))).rooms(500)) == ([], None)
    with pytest.raises(Outage):
        result_of(synapse(answering(said(rooms={}))).rooms(0))


def test_a_ping_asks_whose_token_it_is_which_every_homeserver_knows() -> None:
    agent = answering(said(user_id="@admin:s"), said(503), said(user_id="nobody"))
    calls: list[str] = []
    client = synapse(agent, on_call=calls.append)
    result_of(client.ping())
    for _ in range(2):
        with pytest.raises(Outage):
            result_of(client.ping())
    assert {asked.uri for asked in agent.asked} == {b"http://s/_matrix/client/v3/account/whoami"}
    assert calls == ["whoami"] * 3


def test_rooms_state_events_are_counted_page_by_page() -> None:
    rooms = [{"room_id": "!a:s", "state_events": 5}, {"room_id": "!b:s"}, {"state_events": 1}]
    agent = answering(said(rooms=rooms, next_batch=1000))
    assert result_of(synapse(agent).tallies(0)) == ({ROOM: 5}, 1000)
    (asked,) = agent.asked
    assert asked.uri == b"http://s/_synapse/admin/v1/rooms?from=0&limit=1000"
    assert result_of(synapse(answering(said(rooms=[]))).tallies(1000)) == ({}, None)
    with pytest.raises(Outage):
        result_of(synapse(answering(said(rooms={}))).tallies(0))


def test_a_homeserver_that_counts_none_is_well_and_does_not_say_it() -> None:
    ends: list[Any] = []
    agent = answering(said(rooms=[{"room_id": "!a:s", "state_events": None}]))
    client = synapse(agent, on_end=ends.append)
    with pytest.raises(MayNotLook):
        result_of(client.tallies(0))
    assert ends == [None], "it is no outage"


def test_a_user_of_ours_is_in_the_rooms_that_they_have_joined() -> None:
    def rooms() -> Answer:
        return said(joined_rooms=[ROOM, 7, "!b:s"])

    unknown = said(404, errcode="M_NOT_FOUND")
    agent = answering(said(user_id="@admin:s"), rooms(), rooms(), unknown)
    client = synapse(agent)
    assert result_of(client.membership(ROOM, USER)) == Standing(Membership.JOIN, True, SOURCE)
    other = result_of(client.membership(RoomId("!c:s"), USER))
    assert other == Standing(Membership.UNHEARD, True, SOURCE)
    assert result_of(client.membership(ROOM, USER)).is_outside, "Synapse does not know them"
    assert agent.asked[1].uri.endswith(b"/_synapse/admin/v1/users/%40alice%3As/joined_rooms")
    assert len(agent.asked) == 4, "whose server it is was asked once"


def test_of_users_of_others_it_says_nothing() -> None:
    agent = answering(said(user_id="@admin:s"))
    standing = result_of(synapse(agent).membership(ROOM, UserId("@eve:elsewhere")))
    assert standing == Standing(Membership.UNHEARD, False, SOURCE)
    assert not standing.is_outside
    assert len(agent.asked) == 1


@pytest.mark.parametrize("answer", [said(500), said(404), said(200), said(joined_rooms="x")])
def test_what_does_not_list_rooms_is_an_outage(answer: Answer) -> None:
    with pytest.raises(Outage):
        result_of(synapse(answering(said(user_id="@admin:s"), answer)).membership(ROOM, USER))


def test_where_nobody_says_whose_server_it_is_nobody_is_judged_and_it_is_asked_again() -> None:
    agent = answering(said(503), said(user_id="@admin:s"), said(joined_rooms=[ROOM]))
    client = synapse(agent)
    with pytest.raises(Outage):
        result_of(client.membership(ROOM, USER))
    assert result_of(client.membership(ROOM, USER)).membership is Membership.JOIN


def test_many_who_want_to_know_whose_server_it_is_ask_once() -> None:
    agent, server = answering(), OurServer()
    clients = [synapse(agent, server=server), synapse(agent, server=server)]
    outcomes = [outcome_of(each.membership(ROOM, USER)) for each in clients]
    assert len(agent.asked) == 1
    for client in reversed(clients):  # each waits by a clock of its own
        clock: Any = client.http.clock
        clock.pump([1.0, 0.0, 0.0])
    assert [outcome[0].value.reason for outcome in outcomes] == [Reason.TIMEOUT] * 2


def test_with_another_deadline_it_is_the_same() -> None:
    client = synapse(answering(said(user_id="@admin:s"), said(joined_rooms=[])))
    shorter = client.within(0.25)
    result_of(shorter.membership(ROOM, USER))
    assert (shorter.seconds, client.seconds) == (0.25, 1.0)
    assert client.server.name == "s"


@pytest.mark.parametrize(
    ("content", "old"),
    [
        ({"predecessor": {"room_id": "!old:s", "event_id": "$1"}}, "!old:s"),
        ({"predecessor": {"room_id": "!old"}}, "!old"),
        ({}, None),
        ({"predecessor": None}, None),
        ({"predecessor": {"room_id": ["!old:s"]}}, None),
        ({"predecessor": {"room_id": "old"}}, None),
        (None, None),
    ],
)
def test_which_room_another_one_replaced_its_first_event_says(content: Any, old: Any) -> None:
    agent = answering(said(state=[event("m.room.create", content)]))
    assert result_of(synapse(agent).predecessor(ROOM)) == old
    assert agent.asked[0].uri.endswith(b"/state?type=m.room.create")


LEVELS: dict[str, Any] = {"users": {USER: 50}, "events": {LIMIT.event: 60}}
FIRST = {**event(CREATE, {"room_version": "12"}), "sender": "@c:s"}


def test_power_levels_are_read_with_who_made_the_room() -> None:
    agent = answering(said(state=[event(POWER_LEVELS, LEVELS)]), said(state=[FIRST]))
    calls: list[str] = []
    power = result_of(synapse(agent, on_call=calls.append).power(ROOM))
    assert (power.of(USER), power.of("@c:s"), power.of("@x:s")) == (50, inf, 0)
    assert power.needed(LIMIT.event) == 60
    assert calls == [POWER_LEVELS, CREATE]


def test_from_an_older_synapse_they_are_found_in_the_whole_state() -> None:
    whole = [event("m.room.name", {}), FIRST, event(POWER_LEVELS, LEVELS)]
    agent = answering(said(state=whole), said(state=whole))
    assert result_of(synapse(agent).power(ROOM)).of(USER) == 50


def test_a_room_without_such_an_event_is_its_creators() -> None:
    agent = answering(said(state=[]), said(state=[{**FIRST, "content": {"room_version": "11"}}]))
    power = result_of(synapse(agent).power(ROOM))
    assert (power.of("@c:s"), power.of(USER), power.needed(LIMIT.event)) == (100, 0, 50)


def test_levels_that_make_no_sense_are_not_taken_for_none() -> None:
    first = {**FIRST, "content": {"room_version": "11"}}
    agent = answering(said(state=[event(POWER_LEVELS, [])]), said(state=[first]))
    assert result_of(synapse(agent).power(ROOM)).of("@c:s") == 0


@pytest.mark.parametrize(
    "answers",
    [
        [said(404, errcode="M_NOT_FOUND"), said(404, errcode="M_NOT_FOUND")],
        [said(state=[]), said(state=[])],
        [said(state=[event(POWER_LEVELS, LEVELS)]), said(state=[])],
    ],
)
def test_of_a_room_that_synapse_is_not_in_it_says_nothing(answers: list[Answer]) -> None:
    """Its state is empty then, which looks as if nothing were forbidden."""
    ends: list[Any] = []
    with pytest.raises(MayNotLook):
        result_of(synapse(answering(*answers), on_end=ends.append).power(ROOM))
    assert ends == [None, None], "that is no failure of a call"
    with pytest.raises(MayNotLook):
        result_of(synapse(answering()).power(RoomId("no room")))


def test_a_failure_of_either_look_is_an_outage() -> None:
    good, bad = said(state=[FIRST]), said(500)
    for answers in ([bad, good], [good, bad]):
        (failure,) = outcome_of(synapse(answering(*answers)).power(ROOM))
        assert failure.value.reason is Reason.SERVER_ERROR


def test_an_unknown_room_replaced_none() -> None:
    agent = answering(said(404, errcode="M_NOT_FOUND"))
    assert result_of(synapse(agent).predecessor(ROOM)) is None
