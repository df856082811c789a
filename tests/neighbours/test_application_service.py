"""Rooms read as users of ours, on any homeserver: doubt never puts anybody outside, nor opens."""

from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import CREATE, POWER_LEVELS
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.eyes import Eyes
from lotus_guard.enforce.ports import MayNotLook, NotAsked, Outage, Reason
from lotus_guard.neighbours.application_service import (
    BARRED_SECONDS,
    MOST_TRIES,
    SOURCE,
    ApplicationService,
    Memory,
)
from lotus_guard.neighbours.http import Http
from lotus_guard.rules.limit import Limit, LimitPolicy
from tests.neighbours.answering import Answer, outcome_of, result_of
from tests.neighbours.model_homeserver import (
    HANGS,
    SENDER,
    ModelHomeserver,
    clock_of,
    refusal,
    said,
)

ROOM, OTHER = RoomId("!r:s"), RoomId("!o:s")
ALICE, BOB, EVE = UserId("@alice:s"), UserId("@bob:s"), UserId("@eve:elsewhere")
LIMIT = Limit()
CANARY = "m.room.member"
TEMPERS: dict[str, dict[str, Any]] = {
    "Synapse": {"may_not_look": 403, "cannot_act": 403},
    "Tuwunel": {"may_not_look": 404, "cannot_act": 403},
    "Continuwuity": {"may_not_look": 404, "cannot_act": 401},
    "Dendrite": {"may_not_look": 403, "cannot_act": 401, "hides_own_ban": True},
}
GARBAGE = [
    Answer(200, b"<html>"),
    Answer(200, b"[]"),
    Answer(403, b"<html>"),
    Answer(404, b""),
    said(200),
    said(200, membership=7),
    said(200, membership="unheard"),
    said(302),
    refusal(404, "M_UNRECOGNIZED"),
    refusal(403, "NOT_MATRIX"),
    said(404),
]


def anew(answer: Answer) -> Answer:
    """The same again: an answer is read once."""
    return answer if answer is HANGS else Answer(answer.code, answer.body)


def service(server: ModelHomeserver, **more: Any) -> ApplicationService:
    token = more.pop("credential", None) or Credential("TOKEN", more.pop("token", "as-token"))
    memory = more.pop("memory", None) or Memory()
    eyes = more.pop("eyes", None) or Eyes(memory.server.may_have)
    return ApplicationService(
        Http(server, Clock()), "http://s", token, 1.0, eyes, memory=memory, **more
    )


def raised_by(work: Any) -> Outage:
    with pytest.raises(Outage) as caught:
        result_of(work)
    return caught.value


@pytest.fixture(params=TEMPERS)
def server(request: Any) -> ModelHomeserver:
    return ModelHomeserver(**TEMPERS[request.param])


# --- users of ours -----------------------------------------------------------------------------


@pytest.mark.parametrize("membership", ["join", "invite", "knock", "leave", "ban"])
def test_a_user_of_ours_is_asked_themselves(server: ModelHomeserver, membership: str) -> None:
    server.member(ROOM, ALICE, membership)
    asking = service(server)
    standing = result_of(asking.membership(ROOM, ALICE))
    assert (standing.is_local, standing.source) == (True, SOURCE)
    assert standing.is_outside == (membership != "join")
    if not server.hides_own_ban:
        assert standing.membership == membership
    assert list(asking.eyes.of(ROOM)) == ([ALICE] if membership == "join" else [])


def test_who_was_never_in_the_room_and_who_names_no_room_is_outside(
    server: ModelHomeserver,
) -> None:
    asking = service(server)
    wanted = Standing(Membership.UNHEARD, True, SOURCE)
    assert result_of(asking.membership(ROOM, ALICE)) == wanted
    unknown = result_of(asking.membership(RoomId("no room"), ALICE))
    assert unknown == Standing(Membership.NO_ROOM, True, SOURCE)


def test_as_whom_we_may_not_act_nothing_is_known_of_them(server: ModelHomeserver) -> None:
    server.users = lambda user: user == BOB
    ends: list[Any] = []
    asking = service(server, on_end=ends.append)
    assert isinstance(raised_by(asking.membership(ROOM, ALICE)), MayNotLook)
    assert set(ends) == {None}, "that is no failure of the homeserver"


def test_as_whom_we_may_not_act_reads_no_room_before_others_do(server: ModelHomeserver) -> None:
    server.users = lambda user: user == BOB
    server.cannot_act = 403
    server.member(ROOM, BOB)
    asking = service(server)
    asking.eyes.proved(ROOM, BOB)
    asking.eyes.proved(ROOM, ALICE)
    raised_by(asking.membership(OTHER, ALICE))
    server.asked.clear()
    result_of(asking.policy(ROOM, LIMIT))
    assert {user for _, user in server.asked} == {BOB}
    clock_of(asking.http).advance(BARRED_SECONDS)
    server.asked.clear()
    server.users = lambda _user: True
    asking.eyes.proved(ROOM, ALICE)
    server.member(ROOM, ALICE)
    result_of(asking.policy(ROOM, LIMIT))
    assert {user for _, user in server.asked} == {ALICE}


def test_who_names_an_account_before_they_make_it_is_judged_once_they_have_it(
    server: ModelHomeserver,
) -> None:
    """Anybody may name anybody who is not there yet: nothing may open by it afterwards."""
    server.users = lambda user: user == BOB
    asking = service(server)
    raised_by(asking.membership(ROOM, ALICE))
    server.users = lambda _user: True  # the account is made
    assert result_of(asking.membership(ROOM, ALICE)).is_outside
    server.member(ROOM, ALICE)
    server.state[ROOM, LIMIT.event, ""] = {"max_users": 3}
    asking.eyes.suggest(ROOM, ALICE)
    assert result_of(asking.policy(ROOM, LIMIT)).policy == LimitPolicy(3)
    assert result_of(asking.membership(ROOM, ALICE)).membership is Membership.JOIN


@pytest.mark.parametrize("user", ["@:s", "@" + "a" * 300 + ":s", "@a\x00:s"])
def test_what_is_no_user_id_is_never_asked_for(server: ModelHomeserver, user: str) -> None:
    asking = service(server)
    assert isinstance(raised_by(asking.membership(ROOM, UserId(user))), MayNotLook)
    assert server.asked == [("whoami", "")], "whose server it is"


def test_a_token_that_is_refused_is_an_outage_and_no_verdict() -> None:
    server = ModelHomeserver()
    server.member(ROOM, ALICE)
    ends: list[Any] = []
    asking = service(server, on_end=ends.append)
    result_of(asking.membership(ROOM, ALICE))
    server.token = "another"
    outage = raised_by(asking.membership(ROOM, ALICE))
    assert outage.reason is Reason.UNAUTHORIZED
    assert "the application service's token" in outage.detail
    assert ends[-1] is outage
    assert server.asked[-1] == ("whoami", SENDER), "the user is always named"


def test_a_renewed_token_is_tried() -> None:
    server = ModelHomeserver(token="new")
    server.member(ROOM, ALICE)
    token = Credential("TOKEN", "old", read=lambda: "new", now=lambda: 1.0)
    asking = service(server, credential=token)
    assert result_of(asking.membership(ROOM, ALICE)).membership is Membership.JOIN


def test_ids_are_one_segment_of_the_path_each() -> None:
    server = ModelHomeserver()
    room, user = RoomId("!a/../b?x=1:s"), UserId("@a/b&user_id=@admin:s")
    server.member(room, user)
    assert result_of(service(server).membership(room, user)).membership is Membership.JOIN
    quoted = "%40a%2Fb%26user_id%3D%40admin%3As"
    assert server.uris[-1] == (
        "http://s/_matrix/client/v3/rooms/%21a%2F..%2Fb%3Fx%3D1%3As/state/m.room.member/"
        f"{quoted}?user_id={quoted}"
    )


@pytest.mark.parametrize("answer", GARBAGE)
def test_garbage_instead_of_a_canary_is_an_outage(answer: Answer) -> None:
    server = ModelHomeserver(instead=lambda what, _user: anew(answer) if what == CANARY else None)
    outage = raised_by(service(server).membership(ROOM, ALICE))
    assert outage.reason in (Reason.GARBAGE, Reason.NOT_FOUND)


@pytest.mark.parametrize("answer", [said(500), Answer(200, b"<html>"), refusal(429)])
def test_where_nobody_says_whether_we_may_act_as_them_it_is_an_outage(answer: Answer) -> None:
    server = ModelHomeserver(
        instead=lambda what, user: anew(answer) if (what, user) == ("whoami", ALICE) else None
    )
    assert not isinstance(raised_by(service(server).membership(ROOM, ALICE)), MayNotLook)


def test_who_is_named_as_another_is_not_acted_as() -> None:
    server = ModelHomeserver(
        instead=lambda what, user: (
            said(user_id=SENDER) if (what, user) == ("whoami", ALICE) else None
        )
    )
    assert isinstance(raised_by(service(server).membership(ROOM, ALICE)), MayNotLook)


BAD_ANSWERS = st.sampled_from(
    [*map(refusal, (400, 401, 403, 404, 429)), said(500), said(502), HANGS, *GARBAGE]
)


@settings(deadline=None)
@given(
    st.lists(BAD_ANSWERS, max_size=6),
    st.sampled_from(sorted(TEMPERS)),
    st.booleans(),
)
def test_no_answer_to_a_canary_puts_a_member_outside(
    answers: list[Answer], temper: str, may_act: bool
) -> None:
    """A homeserver that says join once it is asked properly: a bad answer is the first of two."""
    server = ModelHomeserver(**TEMPERS[temper], users=lambda _user: may_act)
    server.member(ROOM, ALICE)
    asking = service(server)
    for answer in answers:
        bad = [answer]
        server.instead = (
            lambda what, _user, bad=bad: anew(bad.pop()) if what == CANARY and bad else None  # type: ignore[misc]
        )
        outcome = outcome_of(asking.membership(ROOM, ALICE))
        clock_of(asking.http).pump([1.0, 0.0, 0.0])
        clock_of(asking.http).advance(BARRED_SECONDS)
        (found,) = outcome
        if isinstance(found, Failure):
            assert isinstance(found.value, Outage)
            assert not isinstance(found.value, NotAsked)
        else:
            assert found.membership is Membership.JOIN
            assert not found.is_outside


# --- policies ----------------------------------------------------------------------------------


def test_a_policy_is_read_as_somebody_who_is_in_the_room(server: ModelHomeserver) -> None:
    server.member(ROOM, ALICE)
    server.state[ROOM, LIMIT.event, ""] = {"max_users": 3}
    calls: list[str] = []
    asking = service(server, on_call=calls.append)
    asking.eyes.suggest(ROOM, ALICE)
    reading = result_of(asking.policy(ROOM, LIMIT))
    assert (reading.policy, reading.set_at, reading.is_unknown) == (LimitPolicy(3), None, False)
    assert sorted(calls) == sorted(["whoami", CANARY, CANARY, LIMIT.event])
    asking.eyes.suggest(ROOM, BOB)
    assert asking.eyes.of(ROOM)[0] == ALICE, "who was seen there"


def test_that_there_is_no_policy_is_read_too(server: ModelHomeserver) -> None:
    server.member(ROOM, ALICE)
    asking = service(server)
    asking.eyes.suggest(ROOM, ALICE)
    assert not result_of(asking.policy(ROOM, LIMIT)).policy.restricts
    assert result_of(asking.policy(RoomId("no room"), LIMIT)).is_unknown


def test_a_reader_who_is_not_in_the_room_is_forgotten_and_the_next_one_asked(
    server: ModelHomeserver,
) -> None:
    server.member(ROOM, BOB)
    server.member(ROOM, ALICE, "leave")
    server.state[ROOM, LIMIT.event, ""] = {"max_users": 3}
    asking = service(server)
    for user in (BOB, UserId("@never:s"), ALICE):
        asking.eyes.suggest(ROOM, user)
    assert result_of(asking.policy(ROOM, LIMIT)).policy == LimitPolicy(3)
    assert asking.eyes.of(ROOM) == [BOB]


def test_only_some_readers_are_tried_and_none_of_another_server(server: ModelHomeserver) -> None:
    asking = service(server)
    asking.eyes.suggest(ROOM, EVE)
    for number in range(MOST_TRIES + 1):
        asking.eyes.suggest(ROOM, UserId(f"@u{number}:s"))
    assert isinstance(raised_by(asking.policy(ROOM, LIMIT)), MayNotLook)
    canaries = {user for what, user in server.asked if what == CANARY}
    assert len(canaries) == MOST_TRIES
    assert EVE not in {user for _what, user in server.asked}


def test_without_eyes_the_last_known_policy_stays_where_nobody_else_can_be_asked(
    server: ModelHomeserver,
) -> None:
    server.member(ROOM, ALICE)
    server.state[ROOM, LIMIT.event, ""] = {"max_users": 3}
    memory = Memory()
    asking = service(server, memory=memory)
    assert isinstance(raised_by(asking.policy(ROOM, LIMIT)), MayNotLook)
    asking.eyes.suggest(ROOM, ALICE)
    result_of(asking.policy(ROOM, LIMIT))
    server.member(ROOM, ALICE, "leave")
    assert result_of(asking.policy(ROOM, LIMIT)).policy == LimitPolicy(3)
    assert asking.eyes.of(ROOM) == []
    assert isinstance(raised_by(asking.policy(OTHER, LIMIT)), MayNotLook)
    memory.keeps_last = False
    assert isinstance(raised_by(asking.policy(ROOM, LIMIT)), MayNotLook)


@pytest.mark.parametrize("membership", ["leave", "ban", "invite"])
def test_who_has_left_may_read_what_was_and_is_not_believed(membership: str) -> None:
    """On Dendrite, and in rooms whose history is for everybody."""
    server = ModelHomeserver()
    server.member(ROOM, ALICE, membership)
    server.instead = lambda what, _user: said(max_users=3) if what == LIMIT.event else None
    asking = service(server)
    asking.eyes.proved(ROOM, ALICE)
    assert isinstance(raised_by(asking.policy(ROOM, LIMIT)), MayNotLook)


def test_nobody_reads_as_a_user_of_another_server_whatever_the_eyes_say() -> None:
    server, eyes = ModelHomeserver(), Eyes()
    eyes.proved(ROOM, EVE)
    assert isinstance(raised_by(service(server, eyes=eyes).policy(ROOM, LIMIT)), MayNotLook)
    assert {user for _what, user in server.asked} == {""}


def test_an_outage_forgets_no_reader() -> None:
    server = ModelHomeserver()
    asking = service(server)
    asking.eyes.proved(ROOM, ALICE)
    server.instead = lambda what, _user: said(500) if what != "whoami" else None
    assert raised_by(asking.policy(ROOM, LIMIT)).reason is Reason.SERVER_ERROR
    assert asking.eyes.of(ROOM) == [ALICE]


def test_who_leaves_and_comes_back_between_two_calls_makes_no_policy_vanish() -> None:
    """On Tuwunel they read "not found" while they are away."""
    server = ModelHomeserver(may_not_look=404)
    server.member(ROOM, ALICE)
    server.state[ROOM, LIMIT.event, ""] = {"max_users": 3}

    def leave(what: str, _user: str) -> None:
        server.member(ROOM, ALICE, "join" if what == CANARY else "leave")
        if what == CANARY and LIMIT.event in [asked for asked, _ in server.asked]:
            server.member(ROOM, ALICE, "leave")

    server.instead = leave
    asking = service(server)
    asking.eyes.suggest(ROOM, ALICE)
    assert isinstance(raised_by(asking.policy(ROOM, LIMIT)), MayNotLook)


def test_who_leaves_between_two_calls_shows_nothing_that_is_believed() -> None:
    """On Dendrite they read another event then: that would be a policy without a limit."""
    server = ModelHomeserver()
    server.member(ROOM, ALICE)
    server.state[ROOM, LIMIT.event, ""] = {"room_version": "10"}

    def leave(_what: str, _user: str) -> None:
        if LIMIT.event in [asked for asked, _ in server.asked]:
            server.member(ROOM, ALICE, "leave")

    server.instead = leave
    asking = service(server)
    asking.eyes.suggest(ROOM, ALICE)
    assert isinstance(raised_by(asking.policy(ROOM, LIMIT)), MayNotLook)


CANARIES = st.sampled_from(
    [said(membership=each) for each in ("invite", "knock", "leave", "ban", "x")]
    + [refusal(each) for each in (400, 401, 403, 404, 429)]
    + [said(500), HANGS, *GARBAGE]
)


@settings(deadline=None)
@given(CANARIES, st.sampled_from(sorted(TEMPERS)), st.booleans())
def test_nothing_is_no_policy_without_a_canary_that_says_join(
    canary: Answer, temper: str, is_in: bool
) -> None:
    server = ModelHomeserver(**TEMPERS[temper])
    answers = {CANARY: canary, LIMIT.event: refusal(404)}
    server.instead = lambda what, _user: anew(answers[what]) if what in answers else None
    if is_in:
        server.member(ROOM, ALICE)
    asking = service(server)
    asking.eyes.proved(ROOM, ALICE)
    outcome = outcome_of(asking.policy(ROOM, LIMIT))
    clock_of(asking.http).pump([1.0, 0.0, 0.0])
    (found,) = outcome
    assert isinstance(found, Failure)
    assert isinstance(found.value, Outage)


@pytest.mark.parametrize(
    "answer", [refusal(404, "M_UNRECOGNIZED"), Answer(404, b"<html>"), refusal(404, "M_UNKNOWN")]
)
def test_another_404_than_matrixs_is_not_no_policy(answer: Answer) -> None:
    server = ModelHomeserver()
    server.member(ROOM, ALICE)
    server.instead = lambda what, _user: anew(answer) if what == LIMIT.event else None
    asking = service(server)
    asking.eyes.suggest(ROOM, ALICE)
    assert raised_by(asking.policy(ROOM, LIMIT)).reason in (Reason.NOT_FOUND, Reason.MAY_NOT_LOOK)


def test_one_deadline_holds_for_a_whole_question() -> None:
    server = ModelHomeserver()
    asking = service(server)
    for user in (ALICE, BOB):
        asking.eyes.suggest(ROOM, user)
    server.instead = lambda what, user: HANGS if user == ALICE else None
    outcome = outcome_of(asking.within(0.5).policy(ROOM, LIMIT))
    clock_of(asking.http).pump([0.25, 0.25, 0.0])
    assert outcome[0].value.reason is Reason.TIMEOUT


# --- power levels ------------------------------------------------------------------------------


def found_room(server: ModelHomeserver, version: str = "12", **levels: Any) -> None:
    """Have a room that EVE made and ALICE is in."""
    server.member(ROOM, ALICE)
    server.state[ROOM, CREATE, ""] = {"room_version": version}
    server.senders[ROOM, CREATE, ""] = EVE
    if levels:
        server.state[ROOM, POWER_LEVELS, ""] = levels


def test_power_levels_are_read_between_two_canaries_with_who_made_the_room(
    server: ModelHomeserver,
) -> None:
    found_room(server, users={ALICE: 50}, events={LIMIT.event: 60})
    calls: list[str] = []
    asking = service(server, on_call=calls.append)
    asking.eyes.suggest(ROOM, ALICE)
    power = result_of(asking.power(ROOM))
    assert (power.of(ALICE), power.of(EVE), power.of(BOB)) == (50, inf, 0)
    assert power.needed(LIMIT.event) == 60
    assert calls == ["whoami", CANARY, POWER_LEVELS, CREATE, CANARY]


def test_that_there_are_no_power_levels_is_read_too(server: ModelHomeserver) -> None:
    found_room(server, "11")
    asking = service(server)
    asking.eyes.suggest(ROOM, ALICE)
    power = result_of(asking.power(ROOM))
    assert (power.of(EVE), power.of(ALICE), power.needed(LIMIT.event)) == (100, 0, 50)


def test_where_nobody_can_look_nothing_is_known_of_power_levels(server: ModelHomeserver) -> None:
    found_room(server, users={ALICE: 50})
    asking = service(server)
    assert isinstance(raised_by(asking.power(ROOM)), MayNotLook)
    asking.eyes.suggest(ROOM, BOB)
    assert isinstance(raised_by(asking.power(ROOM)), MayNotLook)
    asking.eyes.suggest(ROOM, ALICE)
    assert result_of(asking.power(ROOM)).of(ALICE) == 50
    server.member(ROOM, ALICE, "leave")
    assert isinstance(raised_by(asking.power(ROOM)), MayNotLook), "what was is no answer"
    asked = len(server.asked)
    assert isinstance(raised_by(asking.power(RoomId("no room"))), MayNotLook)
    assert len(server.asked) == asked


def test_a_room_without_a_first_event_is_none_that_was_looked_at(server: ModelHomeserver) -> None:
    """Tuwunel answers so to who is away for a moment: that nothing is there says nothing then."""
    server.member(ROOM, ALICE)
    asking = service(server)
    asking.eyes.suggest(ROOM, ALICE)
    assert isinstance(raised_by(asking.power(ROOM)), MayNotLook)


def test_who_gives_a_first_event_without_its_sender_is_not_believed(
    server: ModelHomeserver,
) -> None:
    found_room(server, users={ALICE: 50})
    server.knows_formats = False
    asking = service(server)
    asking.eyes.suggest(ROOM, ALICE)
    assert raised_by(asking.power(ROOM)).reason is Reason.GARBAGE


@pytest.mark.parametrize("what", [POWER_LEVELS, CREATE])
def test_a_failure_of_either_look_is_an_outage(server: ModelHomeserver, what: str) -> None:
    found_room(server, users={ALICE: 50})
    server.instead = lambda asked, _user: said(500) if asked == what else None
    asking = service(server)
    asking.eyes.suggest(ROOM, ALICE)
    assert raised_by(asking.power(ROOM)).reason is Reason.SERVER_ERROR
    server.instead = lambda asked, _user: refusal(403) if asked == what else None
    assert isinstance(raised_by(asking.power(ROOM)), MayNotLook)


# --- users of others ---------------------------------------------------------------------------


@pytest.mark.parametrize("membership", ["join", "invite", "knock", "leave", "ban"])
def test_of_a_user_of_another_server_whoever_is_in_the_room_tells(
    server: ModelHomeserver, membership: str
) -> None:
    server.member(ROOM, ALICE)
    server.member(ROOM, EVE, membership)
    asking = service(server)
    asking.eyes.suggest(ROOM, ALICE)
    standing = result_of(asking.membership(ROOM, EVE))
    assert standing == Standing(Membership(membership), False, SOURCE)
    assert EVE not in {user for _what, user in server.asked}, "we act as nobody else's users"


def test_of_whom_nothing_was_heard_or_nobody_can_look_nothing_is_known(
    server: ModelHomeserver,
) -> None:
    asking = service(server)
    nothing = Standing(Membership.UNHEARD, False, SOURCE)
    assert result_of(asking.membership(ROOM, EVE)) == nothing, "there is nobody to look"
    server.member(ROOM, ALICE)
    asking.eyes.suggest(ROOM, ALICE)
    assert result_of(asking.membership(ROOM, EVE)) == nothing, "who was never there"
    assert not nothing.is_outside


# --- all else ----------------------------------------------------------------------------------


def test_a_room_has_its_name_or_its_alias_or_none_that_we_know(server: ModelHomeserver) -> None:
    asking = service(server)
    assert result_of(asking.name(ROOM)) is None
    server.member(ROOM, ALICE)
    asking.eyes.suggest(ROOM, ALICE)
    assert result_of(asking.name(ROOM)) is None
    server.state[ROOM, "m.room.canonical_alias", ""] = {"alias": "#a:s"}
    assert result_of(asking.name(ROOM)) == "#a:s"
    server.state[ROOM, "m.room.name", ""] = {"name": "L" * 1000}
    assert result_of(asking.name(ROOM)) == "L" * 200


def test_it_lists_no_rooms(server: ModelHomeserver) -> None:
    assert isinstance(raised_by(service(server).rooms(0)), MayNotLook)
    assert isinstance(raised_by(service(server).tallies(0)), MayNotLook)


def test_a_ping_asks_who_we_are(server: ModelHomeserver) -> None:
    asking = service(server)
    result_of(asking.ping())
    result_of(asking.ping())
    assert server.asked == [("whoami", ""), ("whoami", SENDER)]
    server.token = "another"
    assert raised_by(asking.ping()).reason is Reason.UNAUTHORIZED


def test_without_a_token_nothing_is_asked(server: ModelHomeserver) -> None:
    asking = service(server, token="")
    for work in (
        asking.ping(),
        asking.policy(ROOM, LIMIT),
        asking.membership(ROOM, ALICE),
        asking.name(ROOM),
    ):
        assert isinstance(raised_by(work), MayNotLook)
    assert server.asked == []
