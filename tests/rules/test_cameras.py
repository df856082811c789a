"""The rule of so many cameras at once: what the event may say, whom it judges how, its words."""

from typing import Any

import pytest

from lotus_guard.core.model import Identity, Source, UserId
from lotus_guard.core.power import read_power
from lotus_guard.rules import RULES, by_event
from lotus_guard.rules.bypass import Bypass
from lotus_guard.rules.cameras import Cameras, CamerasPolicy
from lotus_guard.rules.media import Media
from lotus_guard.rules.plan import bans_by
from lotus_guard.rules.rule import Allow, Fact, Facts, Forbid, Place, Who, Withhold

CAMERAS = Cameras()
FOUR = CamerasPolicy(4)
MOD, ALICE = UserId("@mod:s"), UserId("@alice:s")
POWER = read_power({"users": {MOD: 50}, "state_default": 50}, None)
CAMERA = frozenset({Source.CAMERA})


def who(user: UserId | None = ALICE) -> Who:
    return Who(user or "x", Identity("one"), user)


def place(ahead: int, is_taken: bool = True) -> Facts:
    return Facts(power=POWER, cameras=Place(ahead, is_taken))


@pytest.mark.parametrize(
    ("content", "policy"),
    [
        (None, CamerasPolicy()),
        ({}, CamerasPolicy()),
        ({"allow_camera": False}, CamerasPolicy()),
        ({"max_cameras": 4}, CamerasPolicy(4)),
        ({"max_cameras": 1, "allow_camera": "x"}, CamerasPolicy(1)),
        ({"max_cameras": 4, "bypass": True}, CamerasPolicy(4, Bypass(True))),
        ({"max_cameras": 4, "bypass_level": 50}, CamerasPolicy(4, Bypass(False, 50))),
        ({"max_cameras": 4, "bypass": "yes"}, CamerasPolicy(4)),
    ],
)
def test_what_the_event_says(content: Any, policy: CamerasPolicy) -> None:
    reading = CAMERAS.read(content)
    assert (reading.policy, reading.complaints) == (policy, ()), (
        "bypass is for Media to complain of"
    )
    assert reading.policy.restricts == (policy.max_cameras is not None)
    assert CAMERAS.cameras(policy) == policy.max_cameras


@pytest.mark.parametrize("value", ["four", 4.0, True, False, None, -1, [4], {}])
def test_what_makes_no_sense_restricts_nothing(value: Any) -> None:
    reading = CAMERAS.read({"max_cameras": value})
    assert not reading.policy.restricts
    (complaint,) = reading.complaints
    assert complaint.startswith("io.lotus.room_quality: max_cameras is ")
    assert complaint.endswith("; a number of cameras is an integer of at least 1")


def test_none_at_all_is_said_in_another_way() -> None:
    (complaint,) = CAMERAS.read({"max_cameras": 0}).complaints
    assert complaint.endswith("; for none at all: allow_camera: false")


def test_every_complaint_of_the_event_is_made_once() -> None:
    content = {"max_cameras": "x", "allow_camera": "x", "bypass": "x", "bypass_level": "x"}
    readers = by_event(RULES)[CAMERAS.event]
    complaints = [each for rule in readers for each in rule.read(content).complaints]
    assert len(complaints) == len(set(complaints)) == 4


@pytest.mark.parametrize(("ahead", "is_taken"), [(0, True), (3, True), (0, False), (3, False)])
def test_there_is_place(ahead: int, is_taken: bool) -> None:
    assert CAMERAS.judge(FOUR, who(), place(ahead, is_taken)) == Allow()


@pytest.mark.parametrize("ahead", [4, 5, 99])
def test_one_too_many_is_forbidden_and_without_one_nothing_is_given_back(ahead: int) -> None:
    verdict = CAMERAS.judge(FOUR, who(), place(ahead))
    assert isinstance(verdict, Forbid)
    assert verdict.sources == CAMERA
    assert "there are more cameras than the 4" in verdict.why
    withheld = CAMERAS.judge(FOUR, who(), place(ahead, False))
    assert withheld == Withhold(CAMERA)
    assert bans_by([("cameras", withheld)]) == (), "nothing is taken"


def test_who_is_exempt_keeps_theirs() -> None:
    policy = CamerasPolicy(4, Bypass(True))
    assert CAMERAS.judge(policy, who(MOD), place(9)) == Allow(is_exempt=True)
    for user in (ALICE, None):
        assert isinstance(CAMERAS.judge(policy, who(user), place(9)), Forbid)
    unknown = Facts(cameras=Place(9, True))
    assert isinstance(CAMERAS.judge(policy, who(MOD), unknown), Forbid), "no levels are known"


def test_where_no_place_is_known_nobody_is_forbidden_anything() -> None:
    assert CAMERAS.judge(FOUR, who(), Facts()) == Allow()
    assert CAMERAS.judge(CamerasPolicy(), who(), place(99)) == Allow()


def test_what_it_needs() -> None:
    assert CAMERAS.needs == {Fact.CAMERAS}
    assert not CAMERAS.judges_tokens
    assert CAMERAS.seats(FOUR) is None
    assert CAMERAS.needs_power(CamerasPolicy(4, Bypass(True)))
    assert not CAMERAS.needs_power(CamerasPolicy(None, Bypass(True)))
    assert not CAMERAS.needs_power(FOUR)
    assert CAMERAS.doubts(CamerasPolicy(4, Bypass(level=0)), POWER) != ()


def test_it_shares_the_event_of_camera_and_screen_and_its_options_are_its_own() -> None:
    assert CAMERAS.event == Media().event
    assert CAMERAS.fields() == {"max_cameras"}
    assert not CAMERAS.fields() & Media().fields()


@pytest.mark.parametrize(
    ("policy", "sentences", "words"),
    [
        (CamerasPolicy(), ("Any number of cameras may be on.",), ()),
        (CamerasPolicy(1), ("At most 1 camera may be on at once.",), ("at most 1 camera",)),
        (
            CamerasPolicy(4, Bypass(True)),
            ("At most 4 cameras may be on at once.", "Not counted: people who can set this rule."),
            ("at most 4 cameras (some exempt)",),
        ),
    ],
)
def test_it_is_shown_in_words(
    policy: CamerasPolicy, sentences: tuple[str, ...], words: tuple[str, ...]
) -> None:
    shown = CAMERAS.show(policy)
    assert (shown.sentences, shown.words, shown.brief) == (sentences, words, words)
    assert shown.fields == {"max_cameras": policy.max_cameras}
