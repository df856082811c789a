"""What was decided and who was there, minute by minute."""

from twisted.internet.task import Clock

from lotus_guard.observe.last_hour import MINUTES, LastHour
from lotus_guard.rules.decision import Deed, Ruling

NOON = 1_790_000_040.0
"""The beginning of a minute."""


def ruling(deed: Deed) -> Ruling:
    return Ruling(deed, "limit", "", "")


def hour(clock: Clock) -> LastHour:
    return LastHour(lambda: NOON + clock.seconds())


def test_each_deed_is_counted_in_its_minute() -> None:
    clock = Clock()
    made = hour(clock)
    for deed in (Deed.REFUSED, Deed.REFUSED, Deed.CHANGED, Deed.STEP, Deed.UNENFORCED):
        made.decided(ruling(deed), False)
    made.decided(ruling(Deed.REFUSED), True)
    clock.advance(60.0)
    made.decided(ruling(Deed.FAIL_OPEN), False)
    first = {"refused": 3, "changed": 2, "unguarded": 0, "observed": 1, "people": None}
    second = {"refused": 0, "changed": 0, "unguarded": 1, "observed": 0, "people": None}
    assert made.minutes() == [{"at": NOON, **first}, {"at": NOON + 60, **second}]


def test_the_most_people_of_a_minute_are_kept() -> None:
    made = hour(Clock())
    for people in (3, 5, 2):
        made.saw(people)
    assert made.minutes()[0]["people"] == 5


def test_nobody_there_is_not_the_same_as_nobody_looked() -> None:
    made = hour(Clock())
    made.saw(0)
    assert made.minutes()[0]["people"] == 0


def test_an_hour_is_kept_and_no_more() -> None:
    clock = Clock()
    made = hour(clock)
    for _ in range(3 * MINUTES):
        made.saw(1)
        clock.advance(60.0)
    assert len(made.minutes()) == MINUTES - 1, "nothing was seen yet in the minute that is now"
    made.saw(1)
    assert len(made.minutes()) == len(made._minutes) == MINUTES
    assert made.minutes()[-1]["at"] - made.minutes()[0]["at"] == 60 * (MINUTES - 1)


def test_minutes_in_which_the_guard_did_not_run_are_left_out() -> None:
    clock = Clock()
    made = hour(clock)
    made.saw(1)
    clock.advance(40 * 60.0)
    made.saw(2)
    assert [each["at"] - NOON for each in made.minutes()] == [0, 2400]
    clock.advance(40 * 60.0)
    assert [each["at"] - NOON for each in made.minutes()] == [2400]


def test_a_clock_set_back_a_little_counts_on_and_a_wrong_one_is_forgotten() -> None:
    clock = Clock()
    made = hour(clock)
    made.saw(1)
    clock.rightNow -= 1.0
    made.decided(ruling(Deed.REFUSED), False)
    assert [(each["at"] - NOON, each["refused"]) for each in made.minutes()] == [(0, 1)]
    clock.rightNow -= 7200.0
    made.decided(ruling(Deed.REFUSED), False)
    clock.advance(60.0)
    made.decided(ruling(Deed.REFUSED), False)
    assert [(each["at"] - NOON, each["refused"]) for each in made.minutes()] == [
        (-7260, 1),
        (-7200, 1),
    ]
