"""The guard's nouns: who was there, what a track is."""

import pytest

from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    Kind,
    Participant,
    Track,
    kind_of,
)


@pytest.mark.parametrize(
    ("mimes", "kind"),
    [
        ([], Kind.UNKNOWN),
        (["audio/opus"], Kind.AUDIO),
        (["video/VP8"], Kind.VIDEO),
        (["AUDIO/red", "Video/H264"], Kind.VIDEO),
        (["application/x"], Kind.UNKNOWN),
        ([""], Kind.UNKNOWN),
    ],
)
def test_what_a_track_carries(mimes: list[str], kind: Kind) -> None:
    assert kind_of(mimes) is kind


def test_those_who_may_be_there_count_and_agents_do_not() -> None:
    grant = Grant(True, ())
    alice = Participant(Identity("alice"), "PA_1", grant, (Track(Kind.AUDIO, "microphone"),))
    agent = Participant(Identity("agent"), "PA_2", grant, is_person=False)
    loud, doubtful = Identity("loud"), Identity("doubtful")
    attendance = Attendance(1.0, (alice, agent), (loud,), (doubtful,))
    assert attendance.identities == {"alice", "loud", "doubtful"}


def test_the_permission_as_it_was_read_makes_no_other_participant() -> None:
    one = Participant(Identity("a"), "PA_1", Grant(True, ()), permission={"x": 1})
    assert one == Participant(Identity("a"), "PA_1", Grant(True, ()), permission={"x": 2})
    assert "permission" not in repr(one)
