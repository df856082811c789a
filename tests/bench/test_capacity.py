"""What a deployment holds, worked out from costs that are made up here."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity import BUSY, INTERVAL, Deployment, Load, capacity, demand, noticed, tokens_alone
from bench.costs import read
from bench.live_loop import turns
from lotus_guard.enforce.candidates import MOST_ROOMS

COSTS = read()
ONE, TWO, TEN = Deployment("one"), Deployment("two", workers=2), Deployment("ten", workers=10)
POLLING = Deployment("polling", is_pushed=False)
FREE = dict.fromkeys(COSTS, 0.0)
"""Everything for nothing."""


@given(st.floats(1.0, 50_000.0), st.floats(1.0, 3.0), st.sampled_from([ONE, TWO, TEN, POLLING]))
def test_more_rooms_never_ask_less_of_any_part(
    rooms: float, times: float, there: Deployment
) -> None:
    few, many = (demand(there, Load(), each, COSTS) for each in (rooms, rooms * times))
    assert {name for name in few if many[name] < few[name] * 0.999999} == set()


@given(st.sampled_from(sorted(COSTS)), st.floats(1.0, 10.0), st.sampled_from([ONE, TEN, POLLING]))
def test_what_gets_dearer_never_lets_more_be_held(
    name: str, times: float, there: Deployment
) -> None:
    # By polling a room takes at least what it takes where nothing is asked.
    dearer = {**COSTS, name: COSTS[name] * times}
    if name.startswith("pass, open"):
        dearer = {**dearer, "pass, open, polled": dearer["pass, open, polled"] * times}
    assert capacity(there, Load(), dearer).rooms <= capacity(there, Load(), COSTS).rooms * 1.000001


def test_what_is_full_at_the_limit_is_what_was_said() -> None:
    for there in (ONE, TEN, POLLING):
        limit = capacity(there, Load(), COSTS)
        shares = demand(there, Load(), limit.rooms, COSTS)
        assert max(shares, key=shares.__getitem__) == limit.part
        assert 0.999 < shares[limit.part] <= 1.0


def test_where_all_is_free_memory_is_the_bound() -> None:
    near = evolve(Load(), distance=0.0)
    limit = capacity(ONE, near, FREE)
    assert (round(limit.rooms), limit.part) == (MOST_ROOMS, "the rooms that a guard remembers")


def test_a_slow_livekit_is_the_bound_where_work_is_free() -> None:
    far = evolve(Load(), distance=0.1)
    limit = capacity(ONE, far, FREE)
    assert limit.part == "the turns of a pass"
    assert round(limit.rooms) == 4 * INTERVAL / 0.1 / 0.2  # one room in five has a policy


def test_more_workers_share_tokens_and_not_the_loop() -> None:
    dear = {"token, open, newcomer: with Redis": 0.001, "token, open, newcomer": 0.001}
    costs = {**FREE, **dear}
    assert round(tokens_alone(ONE, costs, "open")) == round(BUSY / 0.001)
    assert round(tokens_alone(TEN, costs, "open")) == round(10 * BUSY / 0.001)
    looping = {**FREE, "pass, open, pushed": 0.0002}
    assert capacity(ONE, Load(), looping).rooms == capacity(TEN, Load(), looping).rooms
    apart = evolve(TEN, loop_parts=10)
    assert capacity(apart, Load(), looping).part != capacity(TEN, Load(), looping).part


def test_news_is_a_cost_that_more_workers_do_not_share() -> None:
    heard = {**FREE, "token, open, newcomer: another worker": 0.0001}
    two, ten = (tokens_alone(each, heard, "open") for each in (TWO, TEN))
    assert round(two) == round(BUSY / 0.00005)
    assert round(ten) == round(BUSY / 0.00009)


def test_shards_share_keys_and_not_news() -> None:
    keys = {**FREE, "token, open, newcomer: Redis": 0.001}
    three = evolve(TEN, shards=3)
    assert round(tokens_alone(three, keys, "open")) == 3 * round(tokens_alone(TEN, keys, "open"))
    telling = {**FREE, "token, open, newcomer: news": 1.0, "Redis, a listener": 0.0001}
    assert tokens_alone(three, telling, "open") == tokens_alone(TEN, telling, "open")


def test_polling_notices_as_the_benchmark_of_the_loop_works_it_out() -> None:
    """That one has all look-ups for policies, this one leaves a quarter to memberships."""
    for rooms in (100, 1000, 5000):
        theirs = turns(rooms // 10, rooms - rooms // 10)[1]
        assert theirs * 0.95 <= noticed(rooms, 0.1) <= theirs * 2
