"""The laws of giving back, under any interleaving of what can happen to one identity in a call.

The model is LiveKit as it is (docs/facts.md, LiveKit: permissions): a token gives its rights on
each join, LiveKit hands out tokens with the rights as they are, a change replaces all of them.
Changes of ours may be lost, or come late. What cannot be told from a change of ours is left out,
for nobody could: somebody else sets the very grant that we have just sent, or that the session may
have come with before any look showed it.
"""

from attrs import define, frozen
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lotus_guard.core.claim import APART, REFRESHED, SETTLES, Carried, Claim, Issue, alike, meet
from lotus_guard.core.claim_json import read_claim, write_claim
from lotus_guard.core.model import Grant, Source
from lotus_guard.core.narrow import EVERY_SOURCE, narrow
from tests.grants import allows

EVERYTHING = Grant(True, ())
UPSTREAM = st.sampled_from(
    [EVERYTHING, Grant(True, ("microphone", "camera")), Grant(True, EVERY_SOURCE)]
)
FORBIDDEN = st.frozensets(st.sampled_from(sorted(set(Source) - {Source.MICROPHONE})))
FOREIGN = st.lists(st.sampled_from(EVERY_SOURCE), min_size=1, max_size=3, unique=True).map(
    lambda names: Grant(True, tuple(names))
)
FATES = st.sampled_from(["done", "done", "done, and the answer lost", "never", "late"])


def names(grant: Grant) -> set[str]:
    """What LiveKit lets somebody publish."""
    return {name for name in EVERY_SOURCE if allows(grant, name)}


@frozen
class Pass:
    """A token with which somebody may come in."""

    grant: Grant
    cap: frozenset[str]
    """The most that its holder was ever granted, by upstream or by somebody else."""
    ends: float


@define
class Session:
    """Somebody in the call."""

    sid: str
    joined: float
    grant: Grant
    cap: frozenset[str]
    taken: frozenset[str] = frozenset()
    """What somebody else has taken since."""


class Giving(RuleBasedStateMachine):
    """One identity, its tokens and sessions, a policy that changes, and others who interfere."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_790_000_000.0
        self.forbidden: frozenset[Source] = frozenset()
        self.claim: Claim | None = None
        self.upstream: list[Grant] = []
        self.passes: list[Pass] = []
        self.session: Session | None = None
        self.late: list[tuple[float, Grant]] = []
        """What was sent and may still come, and until when."""
        self.ours: list[Carried] = []
        """What a session can have come with, as far as looks can tell."""
        self.sids = 0
        self.others_came_in = False

    def tick(self, seconds: float = 0.01) -> None:
        self.now += seconds
        self.late = [each for each in self.late if each[0] >= self.now]

    # The token path.

    @rule(upstream=UPSTREAM)
    def issue(self, upstream: Grant) -> None:
        self.tick()
        grant = narrow(upstream, self.forbidden)
        there = self.session
        if there and there.taken and alike(grant) == alike(there.grant) and not self.is_seen():
            return  # within seconds of the join nobody can tell
        self.ours.append(Carried(alike(grant), self.now, self.now + 360.0))
        self.claim = Issue(upstream, grant, self.now, self.now + 300.0).after(self.claim)
        self.upstream.append(upstream)
        self.passes.append(Pass(grant, frozenset(names(upstream)), self.now + 360.0))

    # LiveKit and its clients.

    @precondition(lambda self: any(each.ends >= self.now + 0.01 for each in self.passes))
    @rule(data=st.data())
    def join(self, data: st.DataObject) -> None:
        """Come in, or again, with any token; the first session is over then."""
        self.tick()
        self.enter(data.draw(st.sampled_from([t for t in self.passes if t.ends >= self.now])))

    def enter(self, token: Pass) -> None:
        self.sids += 1
        self.session = Session(f"PA_{self.sids}", float(int(self.now)), token.grant, token.cap)

    @rule()
    def leave(self) -> None:
        self.session = None

    @precondition(lambda self: self.session)
    @rule()
    def refresh(self) -> None:
        """LiveKit hands out a token with the rights as they are now."""
        assert self.session is not None
        ends = self.now + REFRESHED
        self.passes.append(Pass(self.session.grant, self.session.cap, ends))

    @precondition(lambda self: self.session)
    @rule(grant=FOREIGN)
    def others_set(self, grant: Grant) -> None:
        """Somebody else changes what the participant may publish."""
        self.set_by_others(grant)

    @precondition(lambda self: self.session and self.ours)
    @rule(data=st.data())
    def others_set_what_was_ours_once(self, data: st.DataObject) -> None:
        """Somebody else takes exactly what we, or a token, had taken before."""
        self.set_by_others(data.draw(st.sampled_from(self.ours)).grant)

    @precondition(lambda self: self.ours)
    @rule(data=st.data())
    def others_set_what_was_ours_hours_ago(self, data: st.DataObject) -> None:
        """In a session that came in with all that upstream granted, before any look at it."""
        self.leave()
        self.look("done")
        self.change_policy(frozenset())
        self.wait(18_000.0)
        self.issue(EVERYTHING)
        self.enter(self.passes[-1])
        self.others_set_what_was_ours_once(data)
        self.look("done")

    def set_by_others(self, grant: Grant) -> None:
        assert self.session is not None
        known = self.claim
        if known and (alike(grant) in known.under_way or self.is_held(grant)):
            return
        self.others_came_in = True
        self.tick()
        self.session.taken |= names(self.session.grant) - names(grant)
        self.session.cap |= names(grant)
        self.session.grant = grant

    def is_held(self, grant: Grant) -> bool:
        """Whether it is what the last look showed, or what this session may have come with."""
        assert self.claim is not None
        assert self.session is not None
        seen, joined = self.claim.session, self.session.joined
        if self.is_seen() or (seen is not None and seen.is_there):
            assert seen is not None
            if seen.held == alike(grant):
                return True
        return not self.is_seen() and any(
            each.grant == alike(grant) and each.since - APART <= joined <= each.until + APART
            for each in self.ours
        )

    def is_seen(self) -> bool:
        """Whether a look has shown this session."""
        seen = self.claim and self.claim.session
        return bool(seen and self.session and seen.sid == self.session.sid)

    @precondition(lambda self: self.late)
    @rule()
    def what_was_late_comes(self) -> None:
        _, grant = self.late.pop(0)
        if self.session is not None:
            self.put(grant)

    def put(self, grant: Grant) -> None:
        """A change of ours is carried out; it replaces whatever others have set meanwhile."""
        assert self.session is not None
        self.session.taken -= names(grant)
        self.session.grant = grant

    # The live loop.

    @rule(forbidden=FORBIDDEN)
    def change_policy(self, forbidden: frozenset[Source]) -> None:
        self.forbidden = forbidden

    @rule(fate=FATES)
    def look(self, fate: str) -> None:
        """A pass: it looks, it takes or gives, and what it sends may be lost."""
        self.tick()
        self.note()
        if self.session is None:
            self.claim = self.claim and self.claim.left(self.now)
            return
        there = self.session
        if self.claim is not None:
            self.claim = self.claim.seen(there.sid, there.joined, there.grant, self.now)
        less = narrow(there.grant, self.forbidden)
        if less is not there.grant:
            self.send(less, fate)
        elif self.claim is not None:
            more = self.claim.may_give(there.grant, self.forbidden)
            if more is not None:
                self.check_given(there, more)
                self.send(more, fate)

    def note(self) -> None:
        """What was held until about now, tokens may give that LiveKit has made anew."""
        seen = self.claim and self.claim.session
        if seen and seen.is_there:
            self.ours.append(Carried(seen.held, self.now, self.now + REFRESHED))

    def check_given(self, there: Session, more: Grant) -> None:
        added = names(more) - names(there.grant)
        assert added, "what changes nothing is not sent"
        assert names(there.grant) <= names(more), "nothing is taken"
        assert not added & self.forbidden, "no rule forbids it"
        assert not added & there.taken, "nobody else took it"
        assert all(added <= names(each) for each in self.upstream), "upstream granted it each time"

    def send(self, grant: Grant, fate: str) -> None:
        self.claim = self.claim and self.claim.setting(grant, self.now)
        self.ours.append(Carried(alike(grant), self.now, self.now + SETTLES + REFRESHED))
        if fate == "late":
            self.late.append((self.now + SETTLES - 1.0, grant))
        elif fate != "never":
            self.put(grant)
        if fate == "done":
            self.claim = self.claim and self.claim.confirmed(grant, self.now)

    @rule()
    def restart(self) -> None:
        """The guard starts again from what was written down, or another one leads."""
        if self.claim is not None:
            text = write_claim(self.claim)
            self.claim = read_claim(text).awaited(self.now)
            assert write_claim(read_claim(text)) == text

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0, 700.0, 18_000.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by; where there is a policy, or a debt, somebody looks all the time."""
        if seconds > 1.0 and (self.forbidden or (self.claim and self.claim.owes(self.now))):
            self.look("done")
        self.tick(seconds)

    # The laws.

    @invariant()
    def nobody_holds_more_than_was_granted(self) -> None:
        if self.session is not None:
            assert names(self.session.grant) <= self.session.cap

    @rule()
    def all_is_quiet(self) -> None:
        """Nobody holds less than the policy allows, nor more."""
        while self.late:
            self.what_was_late_comes()
        for _ in range(4):
            self.look("done")
        if self.session is None:
            return
        held = names(self.session.grant)
        assert not held & self.forbidden
        if not self.others_came_in:
            whole = EVERYTHING
            for upstream in self.upstream:
                whole = meet(whole, upstream)
            assert held >= names(narrow(whole, self.forbidden))
            assert self.claim is not None
            assert not self.claim.is_over

    @invariant()
    def whoever_holds_less_is_looked_for(self) -> None:
        """By a claim that is open; for it is by this alone that a room without a policy is."""
        if self.session is None or self.claim is None or self.claim.is_over:
            return
        seen = self.claim.session
        if (
            seen is not None
            and seen.sid == self.session.sid
            and seen.held == alike(self.session.grant)
        ):
            lacks = names(self.claim.granted) - names(self.session.grant)
            assert self.claim.owes(self.now) or not lacks


Giving.TestCase.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
test_giving_back_under_any_interleaving = Giving.TestCase
