"""The laws of sharing out, under any order of coming, leaving and giving up."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lotus_guard.overload.fair_share import Arrivals, Bounds, Shares

BOUNDS = Bounds(most=12, each=8, crowd=9, line=6, waiting=10, cap=2)
CROWD = "crowd"
WHO = st.sampled_from(["a", "b", "c", "d", "e", CROWD])


class Cluster(RuleBasedStateMachine):
    """Some clients and one crowd, who come, wait, give up and leave."""

    def __init__(self) -> None:
        super().__init__()
        self.shares: Shares[str, tuple[str, int]] = Shares(BOUNDS, lambda who: who == CROWD)
        self.has: Counter[str] = Counter()
        self.lines: dict[str, list[tuple[tuple[str, int], int]]] = {}
        self.number = 0

    def weight_of(self, who: str) -> int:
        return sum(weight for _, weight in self.lines.get(who, []))

    def admit(self) -> None:
        while (ticket := self.shares.admit()) is not None:
            who = ticket[0]
            assert self.lines[who].pop(0)[0] == ticket, "first come, first served"
            self.has[who] += 1

    @rule(who=WHO, weight=st.integers(1, 3))
    def come(self, who: str, weight: int) -> None:
        free = BOUNDS.most - sum(self.has.values())
        if self.shares.enter(who):
            assert free > 0
            assert not self.lines.get(who), "nobody overtakes their own line"
            self.has[who] += 1
            return
        assert self.has[who] or not free, "who has nothing gets what is free"
        self.number += 1
        ticket = (who, self.number)
        weights = {other: self.weight_of(other) for other in self.lines}
        waits, dropped = self.shares.wait(who, ticket, weight)
        if dropped is not None:
            assert waits
            loser = dropped[0]
            assert self.lines[loser].pop()[0] == dropped, "the newest goes"
            assert weights[loser] == max(weights.values()) > weights.get(who, 0) + weight
        bound = BOUNDS.waiting if who == CROWD else BOUNDS.line
        if waits:
            assert weights.get(who, 0) + weight <= bound
            self.lines.setdefault(who, []).append((ticket, weight))
        else:
            is_long = weights.get(who, 0) + weight > bound
            assert is_long or sum(weights.values()) + weight > BOUNDS.waiting

    @precondition(lambda self: +self.has)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted(+self.has)))
        self.shares.leave(who)
        self.has[who] -= 1
        self.admit()

    @precondition(lambda self: any(self.lines.values()))
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        waiting = [(who, entry) for who, line in self.lines.items() for entry in line]
        who, entry = data.draw(st.sampled_from(waiting))
        self.lines[who].remove(entry)
        self.shares.give_up(who, entry[0])
        self.shares.give_up(who, entry[0])

    @invariant()
    def the_sums_are_right(self) -> None:
        assert self.shares.used == sum(self.has.values()) <= BOUNDS.most
        assert self.shares.spread == sum(min(BOUNDS.cap, n) for n in self.has.values())
        assert self.shares.waiting == sum(map(self.weight_of, self.lines)) <= BOUNDS.waiting
        for who in [*self.has, *self.lines]:
            assert self.shares.has(who) == self.has[who]
            assert len(self.shares._lines.get(who, ())) == len(self.lines.get(who, []))
            assert self.has[who] <= (BOUNDS.crowd if who == CROWD else BOUNDS.each)

    @invariant()
    def nobody_without_a_place_waits_while_one_is_free(self) -> None:
        for who, line in self.lines.items():
            assert not line or self.has[who] or self.shares.used == BOUNDS.most

    def teardown(self) -> None:
        """Whoever waits is let in at last, if all others leave."""
        while +self.has:
            who = next(iter(+self.has))
            self.shares.leave(who)
            self.has[who] -= 1
            self.admit()
        assert not any(self.lines.values())


Cluster.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
test_sharing_under_any_interleaving = Cluster.TestCase


@given(st.integers(2, 200), st.integers(1, 50))
def test_one_alone_gets_half_and_never_makes_the_load_heavy(most: int, cap: int) -> None:
    shares: Shares[str, int] = Shares(Bounds(most, most, most, 0, 0, cap))
    taken = 0
    while shares.enter("one"):
        taken += 1
    assert taken == (most + 1) // 2
    assert shares.spread == min(cap, taken)
    assert shares.enter("other") == (most > taken)


def test_between_a_leaving_and_an_admission_nobody_overtakes_their_own_line() -> None:
    shares: Shares[str, str] = Shares(Bounds(2, 2, 2, 2, 2, 2))
    assert shares.enter("one")
    assert shares.wait("one", "ticket") == (True, None)
    shares.leave("one")
    assert not shares.enter("one")
    assert shares.enter("other")
    shares.leave("other")
    assert shares.admit() == "ticket"


COMING = st.lists(st.tuples(st.sampled_from("abcdefghijkl"), st.floats(0.0, 0.9)), max_size=80)


@given(COMING)
def test_what_others_did_is_never_what_the_heaviest_did(coming: list[tuple[str, float]]) -> None:
    arrivals: Arrivals[str] = Arrivals()
    for who, at in sorted(coming, key=lambda each: each[1]):
        arrivals.count(who, at)
    counts = Counter(who for who, _ in coming)
    share = arrivals.share_of_others(1.5)
    if len(counts) < 8 or max(counts.values()) * 2 > len(coming):
        assert share == 0.0
    else:
        assert abs(share - (1 - max(counts.values()) / len(coming))) < 1e-9
    assert arrivals.share_of_others(9.0) == 0.0, "it is long ago"


@given(st.integers(1, 400), st.integers(0, 50))
def test_one_client_among_few_or_over_half_is_no_crowd(flood: int, others: int) -> None:
    arrivals: Arrivals[str] = Arrivals()
    for number in range(flood):
        arrivals.count("flood", number / 1000)
    for number in range(others):
        arrivals.count(f"other {number}", 0.5)
    share = arrivals.share_of_others(1.2)
    assert (share > 0.0) == (others >= flood and others + 1 >= 8)


def test_what_is_taken_back_counts_no_more_and_nobody_owes_any() -> None:
    arrivals: Arrivals[str] = Arrivals()
    for _ in range(20):
        arrivals.count("proxy", 0.1)
    arrivals.take_back("proxy", 18)
    arrivals.take_back("stranger", 5)
    for number in range(60):
        arrivals.count(f"client {number}", 0.2)
    assert arrivals.share_of_others(0.3) == 1 - 20 / 62, "their most at once is not forgotten"
    arrivals.take_back("proxy", 100)
    assert arrivals.share_of_others(0.3) == 1 - 20 / 60
