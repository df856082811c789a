"""The row of cameras: who came first by looks, what a camera is, and what is forgotten."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    Kind,
    LiveKitRoom,
    Participant,
    RoomId,
    Source,
    Track,
)
from lotus_guard.enforce.presence import Seen
from lotus_guard.enforce.stage import Row, Stage, moved_on, places
from lotus_guard.rules.cameras import Cameras, CamerasPolicy
from lotus_guard.rules.plan import Ban, Restraint, bans_by, plan
from lotus_guard.rules.rule import Facts, Place, Who

ROOM, OTHER = RoomId("!r:s"), RoomId("!other:s")
CALL, SLOT = LiveKitRoom("call"), LiveKitRoom("slot")
ALL = Grant(True, ())
CAMERA = Track(Kind.VIDEO, "camera")


def on(name: str, *tracks: Track, joined: int = 0) -> Participant:
    return Participant(Identity(name), f"PA_{name}", ALL, tracks or (CAMERA,), joined=joined)


def off(name: str) -> Participant:
    return Participant(Identity(name), f"PA_{name}", ALL)


def look(*there: Participant, **more: object) -> Attendance:
    return Attendance(0.0, there, **more)  # type: ignore[arg-type]


def after(*looks: Iterable[Participant]) -> list[str]:
    row: Row = {}
    for there in looks:
        row = moved_on(row, [look(*there)])
    return list(row)


def nobody(_identity: Identity) -> bool:
    return False


def test_who_is_seen_first_is_first_and_then_who_joined_first() -> None:
    late, early = on("a", joined=9), on("b", joined=3)
    assert after([late], [early, late]) == ["a", "b"]
    assert after([late, early]) == ["b", "a"]
    assert after([on("y"), on("x")]) == ["x", "y"], "who joined at once: by identity"


def test_a_camera_that_was_off_or_muted_in_a_look_is_last() -> None:
    muted = on("a", Track(Kind.VIDEO, "camera", is_muted=True))
    assert after([on("a")], [muted, on("b")]) == ["b"]
    for gone in (muted, off("a")):
        assert after([on("a")], [gone, on("b")], [on("a"), on("b")]) == ["b", "a"]
    assert after([on("a")], [on("b")], [on("b"), on("a")]) == ["b", "a"]


def test_whoever_adds_a_camera_is_last_with_all_of_theirs() -> None:
    both = on("a", CAMERA, CAMERA)
    assert after([on("a")], [on("a"), on("b")], [both, on("b")]) == ["b", "a"]
    assert after([both], [on("a"), on("b")]) == ["a", "b"], "and one fewer changes nothing"


@pytest.mark.parametrize(
    ("kind", "source", "counts"),
    [
        (Kind.VIDEO, "camera", True),
        (Kind.UNKNOWN, "camera", True),
        (Kind.AUDIO, "camera", True),
        (Kind.VIDEO, "microphone", True),
        (Kind.VIDEO, "screen_share_audio", True),
        (Kind.VIDEO, "unknown", True),
        (Kind.VIDEO, "7", True),
        (Kind.VIDEO, "screen_share", False),
        (Kind.AUDIO, "microphone", False),
        (Kind.UNKNOWN, "microphone", False),
        (Kind.AUDIO, "unknown", False),
    ],
)
def test_what_a_camera_is(kind: Kind, source: str, counts: bool) -> None:
    assert bool(after([on("a", Track(kind, source))])) is counts
    assert after([on("a", Track(kind, source, is_muted=True))]) == []


def test_all_calls_of_a_room_have_one_row() -> None:
    row = moved_on({}, [look(on("b", joined=5)), look(on("a", joined=2), on("b", joined=1))])
    assert list(row.items()) == [("b", 2), ("a", 1)]


def test_who_could_not_be_read_keeps_their_place() -> None:
    row = moved_on({}, [look(on("a"), on("b"))])
    b = on("b")
    assert list(moved_on(row, [look(b, loud=(Identity("a"),))])) == ["a", "b"]
    assert list(moved_on(row, [look(b, doubtful=(Identity("a"),))])) == ["a", "b"]
    assert list(moved_on(row, [look(b, is_whole=False)])) == ["a", "b"]
    assert list(moved_on(row, [look(b, off("a"), is_whole=False)])) == ["b"], "was read: it is off"
    assert list(moved_on(row, [look(b)])) == ["b"]
    assert list(moved_on({}, [look(loud=(Identity("x"),), is_whole=False)])) == []


def test_places_count_no_one_who_is_exempt_and_none_that_goes() -> None:
    row = {Identity(name): count for name, count in [("a", 1), ("mod", 9), ("b", 3), ("c", 1)]}
    found = places(row, 2, lambda who: who == "mod")
    assert found.of(Identity("a")) == Place(0, True)
    assert found.of(Identity("b")) == Place(3, True), "the last of three"
    assert found.of(Identity("c")) == Place(1, True), "theirs goes: it is in nobody's way"
    assert found.of(Identity("d")) == Place(2, False)
    assert places({}, 2, nobody).of(Identity("d")) == Place(0, False)


def seen(*there: Participant) -> Seen:
    return Seen(0.0, (CALL,), {CALL: look(*there)})


def first_two(stage: Stage, room: RoomId) -> list[str]:
    """The order of two people whom one look shows, by what is known of them from before."""
    found = stage.look(room, seen(on("a", joined=1), on("b", joined=2)), 9, nobody)
    return sorted(("a", "b"), key=lambda name: found.of(Identity(name)).ahead)


def test_rooms_are_remembered_and_forgotten_one_by_one() -> None:
    stage = Stage()
    for room in (ROOM, OTHER):
        stage.look(room, seen(on("b")), 9, nobody)
    assert first_two(stage, ROOM) == ["b", "a"]
    stage.forget(ROOM)
    assert first_two(stage, ROOM) == ["a", "b"]
    stage.forget_all_but({ROOM})
    assert first_two(stage, OTHER) == ["a", "b"]
    stage.look(ROOM, seen(), 9, nobody)
    assert [room for room, _ in stage._rows.items()] == [OTHER], "an empty row is none"
    stage.forget_all_but(())
    assert len(stage._rows) == 0


# Laws, over what is forbidden and what comes of it.

TRACKS = st.lists(
    st.builds(
        Track,
        st.sampled_from(Kind),
        st.sampled_from([*Source, "unknown"]),
        st.booleans(),
    ),
    max_size=3,
)
PEOPLE = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(TRACKS, st.integers(0, 3)))
LOOKS = st.lists(PEOPLE, min_size=1, max_size=4)


def cast(people: dict[str, tuple[Sequence[Track], int]]) -> list[Participant]:
    return [
        Participant(Identity(name), name, ALL, tuple(tracks), joined=joined)
        for name, (tracks, joined) in people.items()
    ]


def cameras_of(participant: Participant) -> int:
    return sum(1 for track in participant.tracks if track.is_camera and not track.is_muted)


EXEMPT = frozenset("gh")


def steps(stage: Stage, there: Sequence[Participant], most: int) -> dict[Identity, Restraint]:
    found = stage.look(ROOM, seen(*there), most, EXEMPT.__contains__)

    def bans_of(participant: Participant) -> tuple[Ban, ...]:
        who = Who(participant.identity, participant.identity)
        facts = Facts(cameras=found.of(participant.identity))
        if participant.identity in EXEMPT:
            return ()
        return bans_by([("cameras", Cameras().judge(CamerasPolicy(most), who, facts))])

    rooms = {CALL: look(*there)}
    planned = plan(rooms, bans_of, (), lambda identity: identity)
    return {step.participant.identity: step for step in planned if isinstance(step, Restraint)}


def carried_out(participant: Participant, step: Restraint | None) -> Participant:
    """What LiveKit makes of a step: it drops the tracks that the new grant does not cover."""
    if step is None:
        return participant
    kept = tuple(t for t in participant.tracks if t.source in step.grant.sources)
    return Participant(participant.identity, participant.sid, step.grant, kept, joined=0)


@given(LOOKS, st.integers(1, 4))
def test_never_more_than_so_many_keep_the_right_and_once_is_enough(
    looks: list[dict[str, tuple[Sequence[Track], int]]], most: int
) -> None:
    stage = Stage()
    for people in looks[:-1]:
        stage.look(ROOM, seen(*cast(people)), most, EXEMPT.__contains__)
    there = cast(looks[-1])
    taken = steps(stage, there, most)
    left = [carried_out(each, taken.get(each.identity)) for each in there]
    counted = [each for each in left if each.identity not in EXEMPT]
    assert sum(map(cameras_of, counted)) <= most
    assert not EXEMPT & taken.keys(), "nothing is taken from who is exempt"
    assert all(cameras_of(each) for each in there if each.identity in taken), "nor without one"
    assert steps(stage, left, most) == {}


@given(
    st.lists(st.sampled_from("abcdef"), unique=True, min_size=1),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_the_first_keep_theirs(order: list[str], most: int, random: object) -> None:
    stage = Stage()
    taken: dict[Identity, Restraint] = {}
    for count in range(1, len(order) + 1):
        there = [on(name) for name in order[:count]]
        random.shuffle(there)  # type: ignore[attr-defined]
        taken = steps(stage, there, most)
    assert set(taken) == set(order[most:]), "newest first"
