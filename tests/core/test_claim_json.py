"""Claims as JSON: what is written is read, and what is none of ours is a claim that is over."""

import json
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.claim import OVER, Carried, Claim, Session, alike
from lotus_guard.core.claim_json import MOST_CLAIM, read_claim, write_claim
from lotus_guard.core.model import Grant
from lotus_guard.core.narrow import EVERY_SOURCE

GRANTS = st.builds(
    Grant, st.booleans(), st.lists(st.sampled_from(EVERY_SOURCE), unique=True).map(tuple)
).map(alike)
TIMES = st.integers(0, 2_000_000_000).map(float)
SIDS = st.text(max_size=12)
SESSIONS = (
    st.none()
    | st.builds(Session, SIDS, GRANTS, st.booleans())
    | st.builds(Session, SIDS, GRANTS, st.booleans(), GRANTS, TIMES.map(lambda at: at + 1.0))
)
CLAIMS = st.builds(
    Claim,
    GRANTS,
    st.lists(st.builds(Carried, GRANTS, TIMES, TIMES | st.just(inf)), max_size=8).map(tuple),
    SESSIONS,
    st.lists(GRANTS, max_size=8).map(tuple),
    TIMES,
    TIMES,
)


@given(CLAIMS)
def test_what_is_written_is_read(claim: Claim) -> None:
    text = write_claim(claim)
    assert read_claim(text) == claim
    assert len(text.encode()) < MOST_CLAIM


def test_it_is_written_as_the_module_says() -> None:
    nothing, sound = Grant(False, ()), Grant(True, ("microphone",))
    claim = Claim(
        Grant(True, ()),
        (Carried(sound, 1.5, 2.5), Carried(nothing, 1.0)),
        Session("S", nothing),
        (sound,),
        2.0,
        3.0,
    )
    assert json.loads(write_claim(claim)) == {
        "granted": [],
        "carried": [[["microphone"], 1.5, 2.5], [None, 1.0, None]],
        "session": ["S", None, True],
        "under_way": [["microphone"]],
        "settles": 2.0,
        "lasts": 3.0,
    }
    assert write_claim(OVER) == "{}"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "",
        "[]",
        "nonsense",
        "null",
        '{"granted": []}',
        '{"granted": "camera", "carried": [], "session": null, "under_way": [], "settles": 0,'
        ' "lasts": 0}',
        '{"granted": [1], "carried": [], "session": null, "under_way": [], "settles": 0,'
        ' "lasts": 0}',
        '{"granted": [], "carried": [], "session": ["S"], "under_way": [], "settles": 0,'
        ' "lasts": 0}',
        '{"granted": [], "carried": [[[], 1.5]], "session": null, "under_way": [], "settles": 0,'
        ' "lasts": 0}',
        '{"granted": [], "carried": [[[], 1, "x"]], "session": null, "under_way": [],'
        ' "settles": 0, "lasts": 0}',
        '{"granted": [], "carried": [[[], 1, 1' + "0" * 400 + ']], "session": null,'
        ' "under_way": [], "settles": 0, "lasts": 0}',
        write_claim(Claim(Grant(True, ()))) + " " * MOST_CLAIM,
        "[" * 100_000,
    ],
)
def test_what_is_none_of_ours_is_over(text: str) -> None:
    assert read_claim(text) is OVER
