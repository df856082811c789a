"""The laws of seats under any interleaving of what can happen in a room."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from lotus_guard.core.model import Identity
from lotus_guard.core.seat_arrivals import TOGETHER
from lotus_guard.core.seats import SPARE
from lotus_guard.enforce.seating import LOOK_MAX_AGE
from tests.core.seating import CALL, ROOM, look, make

MODERATOR = "@mod:s"
"""Exempt from the limit."""
USERS = st.sampled_from([MODERATOR, *(f"@u{i}:s" for i in range(5))])
DEVICES = st.sampled_from(["1", "2"])


class SeatsMachine(RuleBasedStateMachine):
    """A room with a limit, a real SFU's view of it, and everything that can happen in between."""

    def __init__(self) -> None:
        super().__init__()
        self.seats = make(hold=60.0, grace=10.0)
        self.now = 0.0
        self.limit = 2
        self.live: set[str] = set()
        self.tokens: dict[str, float] = {}
        """Who may still use a token they were given, and until when."""
        self.unused: set[str] = set()
        """Whose latest token has not been used, nor one for the same coming in or a later one."""
        self.asked: dict[str, float] = {}
        """When each was given their latest token."""
        self.spare: set[str] = set()
        """Whose latest token was asked for by a user whom the last look showed."""
        self.shown: set[str] = set()
        """Whom the last look showed."""
        self.ended: list[str] = []
        """Who has hung up, where LiveKit's word of it is still on its way."""
        self.seen = 0.0
        self.look()

    def look(self) -> None:
        self.seats.saw(ROOM, {CALL: look(self.now, *self.live)})
        self.seen, self.shown = self.now, self.users()

    def tick(self) -> None:
        """Let a moment pass: no two things happen at the very same one."""
        self.now += 0.001

    def users(self) -> set[str]:
        return {i.rpartition(":")[0] for i in self.live}

    @rule(seconds=st.sampled_from([0.5, 2.0, 9.0, 20.0, 31.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def limit_of(self, user: str) -> int | None:
        return None if user == MODERATOR else self.limit

    def unseated(self) -> list[str]:
        return self.seats.reassess(ROOM, self.limit, {MODERATOR})

    @rule(limit=st.integers(1, 4))
    def change_limit(self, limit: int) -> None:
        self.limit = limit

    @rule(user=USERS, device=DEVICES, is_fresh=st.booleans())
    def ask(self, user: str, device: str, is_fresh: bool) -> None:
        """Ask for a token; a look of the last second lets in, none but a new one refuses."""
        self.tick()
        identity = Identity(f"{user}:{device}")
        is_at_hand = not is_fresh and self.now - self.seen <= LOOK_MAX_AGE
        who = (ROOM, user, identity, self.limit_of(user))
        if (is_at_hand and self.seats.admit(*who, self.seen, self.now).admitted) or self.ask_afresh(
            user, identity
        ):
            self.tokens[identity] = self.now + 60.0
            self.asked[identity] = self.now
            self.spare.discard(identity)
            if user in self.shown:
                self.spare.add(identity)
            if identity in self.live:
                self.use_up(identity)
            self.unused.add(identity)

    def use_up(self, identity: str) -> None:
        user, last = identity.rpartition(":")[0], self.asked[identity] + TOGETHER
        self.unused -= {
            other
            for other in self.unused
            if other.startswith(f"{user}:") and self.asked[other] <= last
        }

    def ask_afresh(self, user: str, identity: Identity) -> bool:
        self.look()
        held = {
            p for p, until in self.seats.seated(ROOM).items() if until is None or until > self.now
        }
        before = len(held | self.users())
        limit = self.limit_of(user)
        seating = self.seats.admit(ROOM, user, identity, limit, self.now, self.now)
        if user in self.users() or user in held or user == MODERATOR:
            assert seating.admitted, "nobody seated is ever refused"
        else:
            assert seating.admitted == (before < self.limit), "never more than the limit"
        return seating.admitted

    @rule(user=USERS, device=DEVICES)
    def join(self, user: str, device: str) -> None:
        """Join with a token while its seat lives; drawer tokens are the live loop's business."""
        self.tick()
        if self.tokens.get(f"{user}:{device}", 0.0) > self.now:
            self.live.add(f"{user}:{device}")
            self.use_up(f"{user}:{device}")

    @precondition(lambda self: self.live)
    @rule(data=st.data(), on_purpose=st.booleans())
    def leave(self, data: st.DataObject, on_purpose: bool) -> None:
        self.tick()
        gone = data.draw(st.sampled_from(sorted(self.live)))
        self.live.discard(gone)
        if on_purpose:
            self.ended.append(gone)
        # What a used token still gives them is the grace, and nothing where they hung up.
        self.end_used(gone, self.now + (0.0 if on_purpose else 10.0))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), is_heard=st.booleans(), device=DEVICES)
    def reload(self, data: st.DataObject, is_heard: bool, device: str) -> None:
        """Go and be back at once, perhaps with another device: one move, or chance misses it."""
        self.watch()
        before = set(self.live)
        self.leave(data, True)
        user = (before - self.live).pop().rpartition(":")[0]
        self.ask(user, device, False)
        if is_heard:
            self.hear()
        self.join(user, device)
        self.watch()

    @precondition(lambda self: self.ended)
    @rule()
    def hear(self) -> None:
        """Hear of those who hung up; of one who is back it is forgotten (`LiveSeats.free`)."""
        self.tick()
        self.look()
        for identity in set(self.ended) - self.live:
            self.seats.hung_up(ROOM, Identity(identity))
            self.end_used(identity, self.now)
            self.end_spare(identity.rpartition(":")[0])
        self.ended.clear()

    def end_spare(self, user: str) -> None:
        """Bound what a token asked for in the call still gives one who has hung up."""
        if user in self.users():
            return
        for token in self.spare:
            if token.startswith(f"{user}:") and token in self.tokens:
                self.tokens[token] = min(self.tokens[token], self.now + SPARE)
        hold = self.seats.table(ROOM).holds.get(user)
        if hold and not hold.firm:
            assert hold.until <= self.now + SPARE

    def end_used(self, identity: str, until: float) -> None:
        """Bound what their tokens still give a user none of whose devices is there."""
        user = identity.rpartition(":")[0]
        if user not in self.users():
            for token in self.tokens.keys() - self.unused:
                if token.startswith(f"{user}:"):
                    self.tokens[token] = min(self.tokens[token], until)

    @rule()
    def watch(self) -> None:
        self.look()
        assert self.unseated() == [], "nobody seated is ever put out"

    @rule(user=USERS, device=DEVICES)
    def come_from_a_drawer(self, user: str, device: str) -> None:
        """Come in with an old token and no seat, and be put out where the room is full."""
        self.watch()
        identity = Identity(f"{user}:{device}")
        if user in self.seats.taken(ROOM, self.now) or self.seats.table(ROOM).returning:
            return  # who may return may be seated
        was_put_out = identity in self.seats.table(ROOM).put_out
        self.tick()
        self.live.add(identity)
        self.look()
        is_full = len(self.seats.taken(ROOM, self.now)) > self.limit
        unseated = self.unseated()
        assert set(unseated) <= {user} - {MODERATOR}, "nobody seated or exempt is ever put out"
        assert not unseated or is_full
        is_known = is_full and was_put_out and user != MODERATOR
        assert unseated or not is_known, "who was put out is known again"
        if unseated:
            self.live.discard(identity)
            self.seats.put_out(ROOM, identity, self.now)
        self.tick()

    @rule()
    def everybody_goes(self) -> None:
        """No seat outlives its reasons."""
        self.live.clear()
        self.tokens.clear()
        self.unused.clear()
        self.tick()
        self.look()
        self.now += 61.0
        self.look()
        assert self.seats.taken(ROOM, self.now) == []

    @rule()
    def sweep(self) -> None:
        self.seats.sweep(self.now)


SeatsMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
test_seats_under_any_interleaving = SeatsMachine.TestCase
