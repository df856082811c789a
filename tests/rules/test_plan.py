"""The laws of the plan, on a model of the SFU that does what the steps say."""

from collections.abc import Callable, Mapping, Sequence

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

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
from lotus_guard.core.narrow import EVERY_SOURCE
from lotus_guard.core.sentence import Sentence
from lotus_guard.rules.media import SourcePolicy
from lotus_guard.rules.plan import (
    MOST,
    NOTHING,
    Ban,
    Curb,
    Narrow,
    Remove,
    Silence,
    Step,
    bans_by,
    bounded,
    taker,
    united,
)
from lotus_guard.rules.plan import plan as plan_of
from lotus_guard.rules.rule import Allow, Forbid, Refuse
from tests.grants import allows

NAMES = st.sampled_from([*EVERY_SOURCE, "unknown"])
GRANTS = st.builds(Grant, st.booleans(), st.lists(NAMES, max_size=4, unique=True).map(tuple))
TRACKS = st.lists(st.builds(Track, st.sampled_from(list(Kind)), NAMES), max_size=3).map(tuple)
FORBIDDEN = st.frozensets(st.sampled_from(sorted(set(Source) - {Source.MICROPHONE})))
PEOPLE = [f"@u{i}:s" for i in range(6)]
IDENTITIES = st.sampled_from([*(f"{p}:{d}" for p in PEOPLE for d in "12"), "hash1", "hash2"])


def people() -> st.SearchStrategy[tuple[Participant, ...]]:
    one = st.builds(
        Participant, IDENTITIES.map(Identity), st.text("AB", min_size=1), GRANTS, TRACKS
    )
    return st.lists(one, max_size=6, unique_by=lambda p: p.identity).map(tuple)


LOUD = st.lists(st.sampled_from(["@u0:s:9", "@u1:s:9", "hash9"]), unique=True, max_size=2).map(
    tuple
)
ATTENDANCES = st.builds(Attendance, st.just(0.0), people(), LOUD, is_whole=st.booleans())
ROOMS = st.fixed_dictionaries(
    {LiveKitRoom("a"): ATTENDANCES}, optional={LiveKitRoom("b"): ATTENDANCES}
)
STANDING = st.lists(st.sampled_from(PEOPLE), unique=True, max_size=3)


def plan(
    rooms: Mapping[LiveKitRoom, Attendance],
    policy: SourcePolicy,
    unseated: Sequence[str],
    person: Callable[[Identity], str],
) -> list[Step]:
    """Plan with one rule that forbids everybody the same."""
    bans = (Ban("sources", policy.forbidden),) if policy.forbidden else ()
    return plan_of(rooms, lambda _participant: bans, unseated, person)


def person(identity: Identity) -> str:
    return identity.rpartition(":")[0] if identity.startswith("@") else identity


def carried_out(
    rooms: dict[LiveKitRoom, Attendance], steps: list[Step]
) -> dict[LiveKitRoom, Attendance]:
    """Do as LiveKit does: tracks go whose declared source is no longer allowed.

    Who is curbed can be read in the next look.
    """
    by_key = {(s.livekit_room, s.participant.identity): s for s in steps}
    after = {}
    for livekit_room, attendance in rooms.items():
        left, loud = [], []
        for participant in attendance.participants:
            step = by_key.get((livekit_room, participant.identity))
            if isinstance(step, Remove):
                continue
            grant = step.grant if isinstance(step, Narrow | Silence) else participant.grant
            tracks = tuple(t for t in participant.tracks if not step or allows(grant, t.source))
            left.append(Participant(participant.identity, participant.sid, grant, tracks))
        for identity in attendance.loud:
            step = by_key.get((livekit_room, identity))
            if isinstance(step, Curb):
                left.append(Participant(identity, "S", step.grant))
            elif step is None:
                loud.append(identity)
        after[livekit_room] = Attendance(0.0, tuple(left), tuple(loud))
    return after


@given(rooms=ROOMS, forbidden=FORBIDDEN, unseated=STANDING)
def test_carried_out_and_planned_again_it_is_empty(
    rooms: dict[LiveKitRoom, Attendance], forbidden: frozenset[Source], unseated: list[str]
) -> None:
    policy = SourcePolicy(forbidden)
    after = carried_out(rooms, plan(rooms, policy, unseated, person))
    assert plan(after, policy, unseated, person) == []


@given(rooms=ROOMS, forbidden=FORBIDDEN, unseated=STANDING)
def test_it_never_grants_and_touches_nobody_twice(
    rooms: dict[LiveKitRoom, Attendance], forbidden: frozenset[Source], unseated: list[str]
) -> None:
    steps = plan(rooms, SourcePolicy(forbidden), unseated, person)
    keys = [(step.livekit_room, step.participant.identity) for step in steps]
    assert len(keys) == len(set(keys))
    for step in steps:
        if isinstance(step, Curb):
            assert step.grant == NOTHING
        if isinstance(step, Narrow | Silence):
            for name in [*EVERY_SOURCE, "unknown"]:
                assert not allows(step.grant, name) or allows(step.participant.grant, name)


@given(rooms=ROOMS, forbidden=FORBIDDEN, unseated=STANDING)
def test_it_removes_those_who_stand_and_nobody_else_newest_first(
    rooms: dict[LiveKitRoom, Attendance], forbidden: frozenset[Source], unseated: list[str]
) -> None:
    steps = plan(rooms, SourcePolicy(forbidden), unseated, person)
    removed = [person(s.participant.identity) for s in steps if isinstance(s, Remove)]
    assert set(removed) <= set(unseated)
    assert removed == sorted(removed, key=unseated.index)


@given(rooms=ROOMS, forbidden=FORBIDDEN, unseated=STANDING)
def test_nothing_forbidden_is_left_and_disguises_are_dropped(
    rooms: dict[LiveKitRoom, Attendance], forbidden: frozenset[Source], unseated: list[str]
) -> None:
    video = forbidden & {Source.CAMERA, Source.SCREEN_SHARE}
    after = carried_out(rooms, plan(rooms, SourcePolicy(forbidden), unseated, person))
    for attendance in after.values():
        for participant in attendance.participants:
            for source in forbidden:
                assert not allows(participant.grant, source)
            if participant.grant.can_publish and video:
                for track in participant.tracks:
                    assert track.kind is not Kind.VIDEO or track.source not in (
                        "microphone",
                        "screen_share_audio",
                    )


@given(rooms=ROOMS, unseated=STANDING)
def test_without_a_policy_nobody_is_touched_but_the_loud(
    rooms: dict[LiveKitRoom, Attendance], unseated: list[str]
) -> None:
    steps = plan(rooms, SourcePolicy(), [], person)
    assert [step for step in steps if not isinstance(step, Curb)] == []


@given(rooms=ROOMS, forbidden=FORBIDDEN, unseated=STANDING)
def test_nobody_stays_loud_and_nobody_else_is_curbed(
    rooms: dict[LiveKitRoom, Attendance], forbidden: frozenset[Source], unseated: list[str]
) -> None:
    steps = plan(rooms, SourcePolicy(forbidden), unseated, person)
    curbed = {(s.livekit_room, s.participant.identity) for s in steps if isinstance(s, Curb)}
    loud = {
        (livekit_room, i) for livekit_room, attendance in rooms.items() for i in attendance.loud
    }
    assert curbed <= loud
    after = carried_out(rooms, steps)
    assert all(attendance.loud == () for attendance in after.values())


def test_bounds_keep_a_bug_from_emptying_a_room() -> None:
    one = Participant(Identity("i"), "S", Grant(True, ()))
    removals: list[Step] = [Remove(LiveKitRoom("a"), one, f"@u{i % 10}:s") for i in range(50)]
    many = removals + [Silence(LiveKitRoom("a"), one)] * 500
    kept, put_off = bounded(many)
    removed = [s for s in kept if isinstance(s, Remove)]
    assert {s.person for s in removed} == {f"@u{i}:s" for i in range(MOST[Remove])}
    assert len(removed) == 25, "all sessions of each"
    assert sum(isinstance(s, Silence) for s in kept) == MOST[Silence]
    assert put_off == 25 + 450


def test_one_offence_never_touches_anothers_tracks() -> None:
    camera_as_sound = (Track(Kind.VIDEO, "microphone"),)
    honest = (Track(Kind.AUDIO, "microphone"),)
    mic = Grant(True, ("microphone",))
    offender = Participant(Identity("@a:s:1"), "S1", mic, camera_as_sound)
    other = Participant(Identity("@b:s:1"), "S2", mic, honest)
    rooms = {LiveKitRoom("a"): Attendance(0.0, (offender, other))}
    policy = SourcePolicy(frozenset({Source.CAMERA}))
    assert plan(rooms, policy, [], person) == [Silence(LiveKitRoom("a"), offender)]


def test_who_may_not_publish_any_more_is_not_silenced_again() -> None:
    """LiveKit drops the track a moment after the right: a look in between needs no step."""
    lingering = (Track(Kind.VIDEO, "microphone"),)
    silenced = Participant(Identity("@a:s:1"), "S1", Grant(False, ()), lingering)
    rooms = {LiveKitRoom("a"): Attendance(0.0, (silenced,))}
    assert plan(rooms, SourcePolicy(frozenset({Source.CAMERA})), [], person) == []


CAMERA, SCREEN = frozenset({Source.CAMERA}), frozenset({Source.SCREEN_SHARE})
SOUND = Participant(Identity("@a:s:1"), "S", Grant(True, ("microphone", "screen_share")))


def test_what_rules_forbid_is_kept_by_rule_and_unites() -> None:
    verdicts = (("one", Forbid(CAMERA)), ("two", Allow()), ("three", Forbid(frozenset())))
    bans = bans_by(
        (*verdicts, ("four", Forbid(CAMERA | SCREEN)), ("five", Refuse(Sentence("no"), "no")))
    )
    assert bans == (Ban("one", CAMERA), Ban("four", CAMERA | SCREEN))
    assert united(bans) == CAMERA | SCREEN
    assert united(()) == frozenset()


def test_the_first_rule_that_takes_something_is_the_taker() -> None:
    assert taker(SOUND, (Ban("one", CAMERA), Ban("two", SCREEN))) == "two"
    assert taker(SOUND, (Ban("one", CAMERA),)) is None
    disguised = evolve(SOUND, tracks=(Track(Kind.VIDEO, "microphone"),))
    assert taker(disguised, (Ban("one", CAMERA),)) == "one", "what they publish is forbidden"


def test_a_narrowing_says_what_all_rules_together_leave() -> None:
    bans = (Ban("one", CAMERA), Ban("two", SCREEN))
    rooms = {LiveKitRoom("a"): Attendance(0.0, (SOUND,))}
    (step,) = plan_of(rooms, lambda _participant: bans, [], person)
    assert isinstance(step, Narrow)
    assert (step.grant, step.bans) == (Grant(True, ("microphone",)), bans)


def test_everybody_is_planned_for_by_what_is_forbidden_to_them() -> None:
    other = evolve(SOUND, identity=Identity("@b:s:1"))
    rooms = {LiveKitRoom("a"): Attendance(0.0, (SOUND, other))}
    bans = {SOUND.identity: (Ban("one", SCREEN),)}
    steps = plan_of(rooms, lambda each: bans.get(each.identity, ()), [], person)
    assert [step.participant.identity for step in steps] == [SOUND.identity]


def test_sound_declared_as_video_is_a_disguise_where_a_screens_sound_is_forbidden() -> None:
    disguised = evolve(SOUND, tracks=(Track(Kind.AUDIO, "camera"),))
    rooms = {LiveKitRoom("a"): Attendance(0.0, (disguised,))}
    sound = frozenset({Source.SCREEN_SHARE_AUDIO})
    assert plan(rooms, SourcePolicy(sound), [], person) == [Silence(LiveKitRoom("a"), disguised)]
    assert plan(rooms, SourcePolicy(SCREEN), [], person) == [
        Narrow(LiveKitRoom("a"), disguised, Grant(True, ("microphone",)))
    ]
