"""What is given back, and to whom not."""

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.claim import OVER, Claim, Issue
from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    Kind,
    LiveKitRoom,
    Participant,
    Source,
    Track,
)
from lotus_guard.core.narrow import EVERY_SOURCE, narrow
from lotus_guard.rules.giving import forfeited, give_back, key_of, missing, people
from lotus_guard.rules.plan import Ban, Curb, GiveBack, Narrow, Silence, united
from tests.grants import allows

CALL, OTHER = LiveKitRoom("call"), LiveKitRoom("other")
ALL, SOUND = Grant(True, ()), Grant(True, ("microphone",))
GRANTS = st.builds(
    Grant, st.booleans(), st.lists(st.sampled_from(EVERY_SOURCE), unique=True).map(tuple)
)
FORBIDDEN = st.frozensets(st.sampled_from(sorted(set(Source) - {Source.MICROPHONE})))


def somebody(grant: Grant = SOUND, *tracks: Track, name: str = "a") -> Participant:
    return Participant(Identity(name), "S", grant, tracks, joined=10.0)


def claim_of(participant: Participant, granted: Grant = ALL) -> Claim:
    """The claim of somebody who holds what their token said."""
    claim = Issue(granted, participant.grant, 0.0, None).after(None)
    return claim.seen(participant.sid, participant.joined, participant.grant, 10.0)


@given(GRANTS, FORBIDDEN, FORBIDDEN)
def test_what_is_given_is_upstreams_grant_without_what_is_forbidden_by_now(
    granted: Grant, before: frozenset[Source], now: frozenset[Source]
) -> None:
    someone = somebody(narrow(granted, before))
    bans = (Ban("sources", now),)
    step = give_back(CALL, someone, claim_of(someone, granted), bans)
    held = step.grant if step else someone.grant
    for name in EVERY_SOURCE:
        may = allows(granted, name) and name not in united(bans)
        assert allows(held, name) == (allows(someone.grant, name) or may)
    if step:
        assert (step.granted, step.forbidden) == (claim_of(someone, granted).granted, now)


def test_nothing_is_given_where_the_claim_is_over() -> None:
    assert give_back(CALL, somebody(), OVER, ()) is None


def test_nothing_is_given_to_a_track_in_disguise() -> None:
    disguised = somebody(SOUND, Track(Kind.VIDEO, "microphone"))
    bans = (Ban("sources", frozenset({Source.CAMERA})),)
    assert give_back(CALL, disguised, claim_of(disguised), bans) is None
    honest = somebody(SOUND, Track(Kind.AUDIO, "microphone"))
    assert give_back(CALL, honest, claim_of(honest), bans) is not None


def test_who_is_silenced_or_curbed_forfeits_it() -> None:
    silenced, curbed, narrowed = (somebody(name=name) for name in "scn")
    steps = [Silence(CALL, silenced), Curb(OTHER, curbed), Narrow(CALL, narrowed)]
    assert forfeited(steps) == {(CALL, "s"), (OTHER, "c")}
    assert key_of(GiveBack(CALL, narrowed, ALL, ALL)) == (CALL, "n")


def test_who_is_missing_is_known_by_a_whole_look_alone() -> None:
    known = frozenset(map(Identity, "abcd"))
    seen = Attendance(0.0, (somebody(),), (Identity("b"),), (Identity("c"),))
    assert missing(seen, known) == {"d"}
    assert missing(Attendance(0.0, (somebody(),), is_whole=False), known) == set()


def test_everybody_is_looked_at_where_they_are() -> None:
    rooms = {CALL: Attendance(0.0, (somebody(),)), OTHER: Attendance(0.0, (somebody(name="b"),))}
    assert [(room, each.identity) for room, each in people(rooms)] == [(CALL, "a"), (OTHER, "b")]
