"""LiveKit's list of participants, read record by record."""

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room
from twisted.internet.task import Clock

from lotus_guard.core.model import Identity
from lotus_guard.neighbours.livekit_list import AT_A_TIME, read_list
from tests.neighbours.answering import outcome_of, result_of

people = st.lists(
    st.builds(
        lambda name, size: lk_models.ParticipantInfo(
            sid="PA_1", identity=name, metadata="m" * size
        ),
        st.text("abc", min_size=1, max_size=5),
        st.sampled_from([0, 10, 200, 1000]),
    ),
    max_size=6,
)


@given(people, st.integers(0, 4000))
def test_a_list_that_is_cut_off_tells_all_that_it_can(infos: list[Any], cut: int) -> None:
    most = 500
    body = lk_room.ListParticipantsResponse(participants=infos).SerializeToString()[:cut]
    reading = read_list(body, most, Clock(), lambda info: Identity(info.identity))
    with pytest.raises(StopIteration) as done:
        reading.send(None)
    found, loud = done.value.value
    wanted, wanted_loud, at = [], [], 0
    for info in infos:
        length = info.ByteSize()
        start = at + 1 + (1 if length < 128 else 2)
        at = start + length
        if length > most:
            wanted_loud += [info.identity] if len(body) >= start + 8 + len(info.identity) else []
        elif len(body) >= at:
            wanted.append(info.identity)
    assert list(found) == wanted
    assert list(loud) == wanted_loud


def listed(*infos: Any) -> bytes:
    return bytes(lk_room.ListParticipantsResponse(participants=infos).SerializeToString())


def test_who_is_nobody_is_left_out() -> None:
    body = listed(*(lk_models.ParticipantInfo(identity=name) for name in ("alice", "nobody")))
    found = result_of(
        read_list(body, 500, Clock(), lambda i: None if i.identity == "nobody" else i.identity)
    )
    assert found == (("alice",), ())


@pytest.mark.parametrize("body", [b"{}", b"\x12\x00", b"\x0a\x02\xff\xff"])
def test_what_is_no_list_is_not_taken_for_an_empty_one(body: bytes) -> None:
    with pytest.raises(DecodeError):
        result_of(read_list(body, 500, Clock(), lambda info: info))


def test_others_have_their_turn_between_long_records() -> None:
    info = lk_models.ParticipantInfo(identity="i", metadata="m" * AT_A_TIME)
    turns: list[float] = []

    class Turns(Clock):
        def callLater(self, delay: float, *call: Any, **more: Any) -> Any:
            turns.append(delay)
            return super().callLater(delay, *call, **more)

    clock = Turns()
    found = outcome_of(read_list(listed(info, info), 2 * AT_A_TIME, clock, lambda i: i.identity))
    assert found == []
    clock.advance(0)
    assert (turns, found) == ([0, 0], [(("i", "i"), ())])
