"""The rule for camera and screen: only `false` forbids, and the microphone never is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Identity, Source, UserId
from lotus_guard.core.power import read_power
from lotus_guard.rules.bypass import Bypass
from lotus_guard.rules.media import Media, SourcePolicy
from lotus_guard.rules.rule import Allow, Facts, Forbid, Who

MEDIA = Media()
ALICE = Who("@alice:s", Identity("@alice:s:PHONE"))
CAMERA = frozenset({Source.CAMERA})
SCREEN = frozenset({Source.SCREEN_SHARE, Source.SCREEN_SHARE_AUDIO})


@pytest.mark.parametrize(
    ("content", "forbidden"),
    [
        (None, frozenset()),
        ({}, frozenset()),
        ({"allow_camera": True, "allow_screenshare": True}, frozenset()),
        ({"allow_camera": False}, CAMERA),
        ({"allow_screenshare": False, "max_bitrate": 9}, SCREEN),
        ({"allow_camera": False, "allow_screenshare": False}, CAMERA | SCREEN),
        ({"allow_microphone": False}, frozenset()),
    ],
)
def test_only_false_forbids(content: Any, forbidden: frozenset[Source]) -> None:
    reading = MEDIA.read(content)
    assert (reading.policy.forbidden, reading.complaints) == (forbidden, ())
    assert reading.policy.restricts == bool(forbidden)


@pytest.mark.parametrize("value", [0, None, "false", [], {}, 0.0])
def test_what_makes_no_sense_forbids_nothing_and_is_complained_of(value: Any) -> None:
    reading = MEDIA.read({"allow_camera": value, "allow_screenshare": False})
    assert reading.policy == SourcePolicy(SCREEN), "and the other field holds"
    (complaint,) = reading.complaints
    assert complaint.startswith("io.lotus.room_quality: allow_camera is ")


@given(st.dictionaries(st.sampled_from(["allow_camera", "allow_screenshare", "x"]), st.booleans()))
def test_the_microphone_is_never_forbidden(content: dict[str, bool]) -> None:
    assert Source.MICROPHONE not in MEDIA.read(content).policy.forbidden


def test_everybody_is_forbidden_the_same() -> None:
    assert MEDIA.judge(SourcePolicy(CAMERA), ALICE, Facts()) == Forbid(CAMERA)
    assert MEDIA.judge(SourcePolicy(), ALICE, Facts()) == Allow()
    assert MEDIA.seats(SourcePolicy(CAMERA)) is None, "it counts nobody"
    assert MEDIA.needs == frozenset()


POWER = read_power({"users": {"@mod:s": 50}}, None)
MODERATOR = Who("@mod:s", Identity("@mod:s:D"), UserId("@mod:s"))


def test_who_is_exempt_keeps_camera_and_screen() -> None:
    policy = MEDIA.read({"allow_camera": False, "bypass": True}).policy
    assert policy == SourcePolicy(CAMERA, Bypass(True))
    assert MEDIA.judge(policy, MODERATOR, Facts(power=POWER)) == Allow(is_exempt=True)
    for who, power in ((MODERATOR, None), (ALICE, POWER)):
        assert MEDIA.judge(policy, who, Facts(power=power)) == Forbid(CAMERA)
    shown = MEDIA.show(policy)
    assert shown.sentences[-1] == "Exempt from this: people who can set this rule."
    assert shown.words == shown.brief == ("no camera (some exempt)",)


def test_an_exception_from_nothing_is_said_to_be_one() -> None:
    shown = MEDIA.show(MEDIA.read({"bypass_level": 1}).policy)
    exempt = "Exempt from this (nothing is restricted): people with power level 1 or more."
    assert shown.sentences[-1] == exempt
    assert shown.words == ()


def test_an_exception_from_nothing_asks_for_no_power_levels() -> None:
    assert not MEDIA.needs_power(MEDIA.read({"bypass": True}).policy)
    assert MEDIA.needs_power(MEDIA.read({"allow_camera": False, "bypass_level": 9}).policy)
    assert not MEDIA.needs_power(SourcePolicy(CAMERA))


@pytest.mark.parametrize(
    ("forbidden", "sentences", "words", "brief"),
    [
        (frozenset(), ("Cameras are allowed.", "Screens may be shared."), (), ()),
        (
            CAMERA,
            ("Nobody may publish a camera.", "Screens may be shared."),
            ("no camera",),
            ("no camera",),
        ),
        (
            CAMERA | SCREEN,
            ("Nobody may publish a camera.", "Nobody may share a screen."),
            ("no camera", "no screen share"),
            ("no camera", "no screen"),
        ),
    ],
)
def test_it_is_shown_in_words(
    forbidden: frozenset[Source],
    sentences: tuple[str, ...],
    words: tuple[str, ...],
    brief: tuple[str, ...],
) -> None:
    shown = MEDIA.show(SourcePolicy(forbidden))
    assert (shown.sentences, shown.words, shown.brief) == (sentences, words, brief)
    no_more = {"media_bypass": False, "media_bypass_level": None}
    assert shown.fields == {"forbidden": sorted(forbidden), **no_more}
