"""The laws of the breaker, under any order of ends and answers."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lotus_guard.neighbours.breaker import Breaker, State


class Neighbourly(RuleBasedStateMachine):
    """A neighbour who is there or is not, and calls that may be of rooms which always fail."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.there = True
        self.asking = False
        self.in_a_row = 0
        self.opened_while_there = False

    @rule(there=st.booleans())
    def change(self, there: bool) -> None:
        self.there = there

    @rule(seconds=st.sampled_from([0.1, 0.4, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(rotten=st.booleans())
    def call(self, rotten: bool) -> None:
        """Make a call, of a room that somebody has made fail or of another."""
        if not self.breaker.lets_through:
            return
        if self.there and not rotten:
            assert not self.breaker.succeeded(), "it was closed"
            self.in_a_row = 0
            self.asking = False  # whatever comes of the question is of no interest
            return
        self.in_a_row += 1
        asks = self.breaker.failed()
        assert asks == (self.in_a_row >= self.breaker.enough and not self.asking)
        self.asking = self.asking or asks

    @precondition(lambda self: not self.breaker.lets_through)
    @rule()
    def late_failure(self) -> None:
        before = (self.breaker.state, self.breaker.until)
        assert not self.breaker.failed()
        assert (self.breaker.state, self.breaker.until) == before

    @precondition(lambda self: self.breaker.state is State.OPEN)
    @rule()
    def late_success(self) -> None:
        assert self.breaker.succeeded()
        assert self.breaker.lets_through
        self.in_a_row = 0

    @rule()
    def probe_if_due(self) -> None:
        due = self.breaker.state is State.OPEN and self.now >= self.breaker.until
        assert self.breaker.is_due(self.now) == due
        assert not self.breaker.is_due(self.now), "one probe at a time"
        self.asking = self.asking or due

    @precondition(lambda self: self.asking)
    @rule(chance=st.floats(0.0, 1.0))
    def answer(self, chance: float) -> None:
        was_open = not self.breaker.lets_through
        changes = self.breaker.answered(self.there, self.now, chance)
        self.asking = False
        assert self.breaker.lets_through == self.there
        assert changes == (was_open == self.there)
        if self.there:
            self.in_a_row = 0
        else:
            assert 0 < self.breaker.until - self.now <= self.breaker.most

    @invariant()
    def a_question_is_under_way_where_the_state_says_so(self) -> None:
        if self.breaker.state in (State.DOUBTED, State.PROBED):
            assert self.asking

    def teardown(self) -> None:
        """Whatever has happened: back within two back-offs of the neighbour's being back."""
        self.there = True
        if self.asking:
            self.breaker.answered(True, self.now, 1.0)
        if self.breaker.is_due(self.now + self.breaker.most):
            self.breaker.answered(True, self.now + self.breaker.most, 1.0)
        assert self.breaker.lets_through


Neighbourly.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
test_the_breaker_under_any_interleaving = Neighbourly.TestCase


def test_rooms_alone_never_open_it() -> None:
    """However many of them fail: the neighbour's own answer decides."""
    breaker = Breaker()
    for _ in range(1000):
        if breaker.failed():
            assert breaker.lets_through
            assert not breaker.answered(True, 0.0, 0.5)
        assert breaker.lets_through


def test_each_back_off_is_longer_up_to_a_bound() -> None:
    breaker = Breaker()
    while not breaker.failed():
        pass
    assert breaker.answered(False, 0.0, 1.0)
    now, waits = 0.0, []
    for _ in range(6):
        waits.append(breaker.until - now)
        now = breaker.until
        assert breaker.is_due(now)
        assert not breaker.answered(False, now, 1.0), "it stays open"
    assert waits == [0.5, 1.0, 2.0, 2.0, 2.0, 2.0]
