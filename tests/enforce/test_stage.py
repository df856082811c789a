"""The row of cameras: who came first by looks, what a camera is, and what is forgotten."""

from collections.abc import Iterable, Sequence
from sys import getsizeof

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.lru import weight
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
from lotus_guard.enforce.stage import CameraCount, Row, Stage, _weight, moved_on, places
from lotus_guard.rules.cameras import Cameras, CamerasPolicy
from lotus_guard.rules.plan import Ban, Restraint, bans_by, plan
from lotus_guard.rules.rule import Facts, Place, Who

ROOM, OTHER = RoomId("!r:s"), RoomId("!other:s")
CALL, SLOT = LiveKitRoom("call"), LiveKitRoom("slot")
ALL = Grant(True, ())
CAMERA = Track(Kind.VIDEO, "camera")
MUTED = Track(Kind.VIDEO, "camera", is_muted=True)


def on(name: str, *tracks: Track, joined: int = 0) -> Participant:
    return Participant(Identity(name), f"PA_{name}", ALL, tracks or (CAMERA,), joined=joined)


def muted(name: str, joined: int = 0) -> Participant:
    return on(name, MUTED, joined=joined)


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
    for gone in (muted("a"), off("a")):
        assert after([on("a")], [gone, on("b")], [on("a"), on("b")]) == ["b", "a"]
    assert after([on("a")], [on("b")], [on("b"), on("a")]) == ["b", "a"]
    assert after([on("a")], [off("a")]) == []


def test_muted_cameras_are_behind_those_that_are_on_each_in_their_order() -> None:
    assert after([muted("a", joined=1), on("b", joined=9)]) == ["b", "a"]
    assert after([muted("z")], [muted("z"), muted("a")]) == ["z", "a"]
    assert after([muted("a")], [muted("a"), on("b")]) == ["b", "a"]
    assert after([on("a")], [muted("a"), muted("b", joined=-1)]) == ["a", "b"], "it was there"
    before = [on("a")], [on("a"), on("b")], [on("a"), on("b"), muted("c")]
    assert after(*before, [muted("a"), on("b"), muted("c")]) == ["b", "a", "c"]
    assert after(*before, [on("a"), on("b"), on("c", joined=-1)]) == ["a", "b", "c"]


def test_a_muted_camera_more_makes_one_last_as_any_does() -> None:
    before = [on("a")], [on("a"), on("b")], [on("a"), on("b"), muted("c")]
    more = on("a", CAMERA, MUTED)
    assert after(*before, [more, on("b"), muted("c")]) == ["b", "a", "c"]
    both = [more], [more, on("b")]
    assert after(*both, [on("a", CAMERA, CAMERA), on("b")]) == ["b", "a"]
    assert after(*both, [on("a"), on("b")]) == after(*both, [more, on("b")]) == ["a", "b"]


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
    assert bool(after([on("a", Track(kind, source, is_muted=True))])) is counts


def test_all_calls_of_a_room_have_one_row() -> None:
    row = moved_on({}, [look(on("b", joined=5)), look(on("a", joined=2), on("b", joined=1))])
    assert list(row.items()) == [("b", CameraCount(2, 2)), ("a", CameraCount(1, 1))]
    row = moved_on({}, [look(on("a")), look(muted("a"), muted("b", joined=-1))])
    assert list(row.items()) == [("a", CameraCount(2, 1)), ("b", CameraCount(1, 0))]


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
    counts = {"a": (1, 1), "mod": (9, 9), "b": (3, 1), "c": (1, 0)}
    row = {Identity(name): CameraCount(*count) for name, count in counts.items()}
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
    return sum(1 for track in participant.tracks if track.is_camera)


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


@given(
    st.lists(st.sampled_from("abcdef"), unique=True, min_size=1),
    st.sets(st.sampled_from("abcdef")),
    st.integers(1, 4),
)
def test_muted_ones_have_what_those_that_are_on_leave(
    order: list[str], silent: set[str], most: int
) -> None:
    """Nobody is taken anything until the last look: more were allowed before."""
    stage = Stage()
    for count in range(1, len(order) + 1):
        there = [muted(name) if name in silent else on(name) for name in order[:count]]
        stage.look(ROOM, seen(*there), 9, nobody)
    first = [name for name in order if name not in silent]
    then = [name for name in order if name in silent]
    assert set(steps(stage, there, most)) == set([*first, *then][most:])


def test_a_row_is_weighed_with_its_counts() -> None:
    row: Row = {Identity(name): CameraCount(1, 1) for name in "abc"}
    bare = weight(ROOM, *row)
    assert _weight(ROOM, row) - bare >= sum(map(getsizeof, row.values()))
