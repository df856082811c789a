"""The soak's plan and judge: what they let pass, and that they see each violation."""

from hypothesis import given
from hypothesis import strategies as st

from tests.soak.hostile import _ATTACKS
from tests.soak.judge import GRACE, HOLD, HONEST, TOKEN_SECONDS, Judge, Policy, Sight
from tests.soak.plan import ATTACKS, CAMERAS, FIRST_FAULT, QUIET_END, make_plan
from tests.soak.scene import media


def watch(judge: Judge, begin: int, end: int, *people: str, camera: tuple[str, ...] = ()) -> None:
    for at in range(begin, end):
        published = {who: frozenset({"camera"} if who in camera else ()) for who in people}
        judge.saw(Sight(float(at), {0: published}))


def invariants(judge: Judge) -> list[str]:
    return [violation.invariant for violation in judge.violations]


def capped(cap: int | None, camera: bool = True, at: float = 0.0) -> Policy:
    return Policy(at, cap, camera)


def test_a_room_over_its_cap_is_seen_once_it_lasts() -> None:
    judge = Judge()
    judge.policy(0, capped(1))
    watch(judge, 0, 6, "a", "b")
    assert invariants(judge) == []
    watch(judge, 6, 20, "a", "b")
    assert invariants(judge) == ["cap"]
    assert judge.worst_over > GRACE


def test_one_who_comes_and_is_put_out_in_time_is_none() -> None:
    judge = Judge()
    judge.policy(0, capped(1))
    for begin in (0, 10, 20):
        watch(judge, begin, begin + 4, "a", "b")
        watch(judge, begin + 4, begin + 10, "a")
    assert invariants(judge) == []


def test_who_was_there_before_the_cap_may_stay_and_not_come_back() -> None:
    judge = Judge()
    judge.policy(0, capped(None))
    watch(judge, 0, 3, "a", "b")
    judge.policy(0, capped(1, at=3.0))
    watch(judge, 3, 20, "a", "b")
    assert invariants(judge) == []
    watch(judge, 20, 22, "a")
    watch(judge, 22, 30, "a", "b")
    assert invariants(judge) == [], "a page was reloaded: the seat is kept for its grace"
    watch(judge, 30, 42, "a")
    watch(judge, 42, 50, "a", "b")
    assert invariants(judge) == ["cap"]


def test_who_got_a_token_before_the_cap_or_in_an_outage_may_come() -> None:
    judge = Judge()
    judge.policy(0, capped(None))
    judge.token(0, "b", 1.0)
    watch(judge, 0, 3, "a")
    judge.policy(0, capped(1, at=3.0))
    watch(judge, 3, 20, "a", "b")
    judge.outage(20.0, 25.0)
    judge.token(0, "c", 22.0)
    watch(judge, 20, 40, "a", "b", "c")
    assert invariants(judge) == []


def test_a_drawer_token_gives_no_right() -> None:
    judge = Judge()
    judge.policy(0, capped(None))
    judge.token(0, "b", 0.0)
    watch(judge, 0, 70, "a")
    judge.policy(0, capped(1, at=70.0))
    watch(judge, 70, 80, "a", "b")
    assert invariants(judge) == ["cap"]


def test_the_time_of_an_outage_does_not_count() -> None:
    judge = Judge()
    judge.policy(0, capped(1, camera=False))
    judge.outage(2.0, 30.0)
    watch(judge, 0, 33, "a", "b", camera=("a",))
    assert invariants(judge) == []
    watch(judge, 33, 40, "a", "b", camera=("a",))
    assert sorted(invariants(judge)) == ["cap", "tracks"]


def test_a_forbidden_track_is_seen_once_it_lasts() -> None:
    judge = Judge()
    judge.policy(0, capped(None))
    watch(judge, 0, 10, "a", camera=("a",))
    judge.policy(0, capped(None, camera=False, at=10.0))
    watch(judge, 10, 15, "a", camera=("a",))
    assert invariants(judge) == []
    watch(judge, 15, 30, "a", camera=("a",))
    assert invariants(judge) == ["tracks"]


def test_who_is_put_out_and_had_a_seat_is_seen_and_who_had_none_is_not() -> None:
    judge = Judge()
    judge.token(0, "a", 1.0)
    judge.removed(0, "b", 5.0)
    assert invariants(judge) == []
    judge.removed(0, "a", 5.0)
    assert invariants(judge) == ["removed"]


def test_a_seat_is_kept_for_its_grace_where_livekit_was_killed() -> None:
    judge = Judge()
    judge.token(0, "a", 1.0)
    judge.forgot(2.0)
    judge.token(0, "b", 3.0)
    judge.removed(0, "a", 13.0)
    assert invariants(judge) == []
    judge.removed(0, "a", 11.0)
    judge.removed(0, "b", 13.0)
    assert invariants(judge) == ["removed"] * 2


def test_a_token_of_a_caps_first_seconds_is_as_one_of_before() -> None:
    judge = Judge()
    judge.policy(0, capped(1, at=10.0))
    judge.token(0, "a", 12.0)
    judge.token(0, "b", 13.5)
    judge.removed(0, "a", 20.0)
    assert invariants(judge) == []
    judge.removed(0, "b", 20.0)
    assert invariants(judge) == ["removed"]
    watch(judge, 14, 30, "c", "a")
    assert invariants(judge) == ["removed", "cap"], "c is the stranger"
    assert "'a'" not in judge.violations[-1].what.partition("not entitled")[2]


def test_a_failed_request_is_seen() -> None:
    judge = Judge()
    judge.failed(1.0, "504")
    assert invariants(judge) == ["tokens"]


def test_a_refusal_where_there_must_be_a_seat_is_seen() -> None:
    judge = Judge()
    judge.policy(0, capped(2))
    watch(judge, 10, 20, "a")
    judge.given(0, "b", 21.0)
    judge.refused(0, "c", 22.0, 22.1)
    assert invariants(judge) == [], "b may come yet"
    judge.refused(0, "b", 22.0, 22.1)
    assert invariants(judge) == ["refused"], "and has a seat"
    later = 21.0 + HOLD + GRACE + 1.0
    watch(judge, 80, int(later), "a")
    judge.refused(0, "c", later, later + 0.1)
    assert invariants(judge) == ["refused"] * 2


def test_a_refusal_by_a_cap_of_a_moment_ago_or_while_something_is_out_is_none() -> None:
    judge = Judge()
    judge.policy(0, capped(1))
    watch(judge, 10, 20, "a")
    judge.policy(0, capped(3, at=20.0))
    judge.refused(0, "c", 21.0, 21.1)
    judge.policy(0, capped(None, at=22.0))
    judge.refused(0, "c", 21.9, 22.1)
    assert invariants(judge) == ["refused"], "the cap of 1 is two policies old"
    judge.outage(30.0, 40.0)
    judge.refused(0, "c", 42.0, 42.1)
    assert invariants(judge) == ["refused"]
    judge.refused(0, "c", 50.0, 50.1)
    assert invariants(judge) == ["refused"] * 2


def test_a_late_answer_is_seen() -> None:
    judge = Judge()
    judge.outage(10.0, 20.0)
    judge.answered(9.0, 9.0 + TOKEN_SECONDS + 1.0)
    judge.answered(30.0, 31.0)
    assert invariants(judge) == []
    judge.answered(40.0, 40.1 + TOKEN_SECONDS)
    assert invariants(judge) == ["late"]
    assert [round(each, 1) for each in judge.took] == [1.0, 5.1]


def test_hostile_clients_may_be_put_out_and_nothing_else() -> None:
    judge = Judge(hostile={"h": "drawer"})
    judge.policy(0, capped(None, camera=False))
    judge.token(0, "h", 1.0)
    judge.removed(0, "h", 2.0)
    watch(judge, 0, 10, "h", camera=("h",))
    assert invariants(judge) == ["tracks"]


def test_it_is_kept_how_long_forbidden_cameras_lived() -> None:
    judge = Judge(hostile={"h": "drawer"})
    judge.policy(0, capped(None, camera=False))
    watch(judge, 0, 2, "h", "a", camera=("h",))
    judge.hostile["h"] = "slots"
    watch(judge, 2, 5, "h", "a", camera=("h", "a"))
    watch(judge, 5, 6, "h", "a", camera=("a",))
    judge.policy(0, capped(None, camera=True, at=6.0))
    watch(judge, 6, 9, "h", "a", camera=("h", "a"))
    assert judge.lived == {"slots": [4.0], HONEST: [3.0]}


def test_a_track_is_what_its_media_are() -> None:
    assert media({"type": "VIDEO", "source": "CAMERA"}) == "camera"
    assert media({"type": "VIDEO", "source": "MICROPHONE"}) == "camera"
    assert media({"source": "MICROPHONE", "mime_type": "video/VP8"}) == "camera"
    assert media({"type": "VIDEO", "source": "SCREEN_SHARE"}) == "screen_share"
    assert media({"source": "CAMERA", "mime_type": "audio/opus"}) == "sound"


def test_ten_hostile_clients_try_every_attack_where_it_is_one() -> None:
    plan = make_plan(11, 75.0, 6, 3, hostile=10)
    assert {attack.kind for attack in plan.attacks} == set(ATTACKS) == set(_ATTACKS)
    for attack in plan.attacks:
        now = [r for r in plan.rules if r.at <= attack.at]
        forbids = {room: [r for r in now if r.room == room][-1].camera for room in range(6)}
        if attack.kind in CAMERAS and not all(forbids.values()):
            assert not forbids[attack.room]


def test_hostile_clients_change_nothing_of_what_breaks() -> None:
    calm, hostile = (make_plan(7, 600.0, 20, 3, hostile=number) for number in (0, 12))
    assert calm.faults == hostile.faults
    assert calm.rules == hostile.rules
    assert not calm.attacks
    assert len(hostile.attacks) > 200


@given(st.integers(0, 2**32), st.floats(60.0, 900.0))
def test_a_seed_gives_one_plan_and_it_ends_quietly(seed: int, seconds: float) -> None:
    plan = make_plan(seed, seconds, 20, 3, hostile=3)
    assert plan == make_plan(seed, seconds, 20, 3, hostile=3)
    assert all(attack.at < seconds - QUIET_END for attack in plan.attacks)
    assert all(FIRST_FAULT <= fault.at < seconds - QUIET_END for fault in plan.faults)
    assert all(rule.at < seconds for rule in plan.rules)
    assert list(plan.rules) == sorted(plan.rules, key=lambda rule: rule.at)
    assert {fault.number for fault in plan.faults} <= {0, 1, 2}
