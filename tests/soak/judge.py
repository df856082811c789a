"""Judges a soak: from what LiveKit said about the rooms, and from nothing that a guard says.

The invariants, each with what it allows:

- **cap**: no room over its cap for longer than `GRACE` seconds. Nobody is put out for a cap that
  comes later: whoever was there, or had a token of the last minute, when a cap was lowered may come
  and stay (*entitled*), and come back as long as their seat is kept: a page is reloaded while the
  cap is lowered. So may who got a token while a dependency was out, or in the first `UNAWARE`
  seconds of a cap, of which the guard may not have known yet.
- **tracks**: no forbidden track for longer than `GRACE` seconds after its policy.
- **removed**: nobody is put out who got their token from a guard. But where LiveKit was killed
  since, and has forgotten them, their seat is kept for `SEAT_GRACE` only; and with a token of a
  cap's first `UNAWARE` seconds they may have no seat, as with one from before.
- **tokens**: no request for a token fails that lk-jwt-service would have served.
- **late**: an honest person's answer takes no longer than `TOKEN_SECONDS`.
- **refused**: nobody honest is told that a room is full while there must be a seat: while all
  others that were seen in it lately, or got a token for it lately, are fewer than its cap.

Hostile clients (`tests.soak.hostile`) are judged as all are, but that they may be put out. For how
long their cameras, and those of honest people, lived where cameras are forbidden is kept by kind.

Cap and tracks are judged where Synapse, LiveKit and Redis are up, and were for `GRACE` seconds: a
fault, and as long as it may be felt, is a `Window`. The time in one does not count: in an `OUTAGE`
for neither, where only the seats are in doubt (`SEATS`) not for the cap.
"""

from collections.abc import Mapping, Sequence
from math import inf

from attrs import define, field, frozen

GRACE = 5.0
HOLD = 60.0
"""For how long a token keeps a seat."""
SEAT_GRACE = 10.0
UNAWARE = 3.0
"""A guard may serve a policy that it read two seconds ago, and takes one to judge by it."""
TOKEN_SECONDS = 5.0
LINGERING = SEAT_GRACE + GRACE
"""Who was seen so lately may have a seat still."""
INVARIANTS = ("cap", "tracks", "removed", "tokens", "late", "refused")
HONEST = "honest"
OUTAGE, SEATS = "outage", "seats"


@frozen
class Window:
    """From when until when a fault may be felt."""

    begin: float
    end: float
    kind: str = OUTAGE


@frozen
class Sight:
    """Who was in the rooms, and what each of them published, when we asked at `at`."""

    at: float
    rooms: Mapping[int, Mapping[str, frozenset[str]]]


@frozen
class Policy:
    """A room's policy, from `at` on."""

    at: float
    cap: int | None
    camera: bool


@frozen
class Violation:
    """An invariant that did not hold."""

    at: float
    invariant: str
    what: str


@define
class _Room:
    policy: Policy = field(factory=lambda: Policy(0.0, None, True))
    entitled: set[str] = field(factory=set)
    before: Policy = field(factory=lambda: Policy(0.0, None, True))
    tightened: float = -HOLD
    """When its cap was set or lowered."""
    seen: dict[str, float] = field(factory=dict)
    """When each person was seen in it last."""
    given: dict[str, float] = field(factory=dict)
    """When each person got a token for it last."""
    over: float = 0.0
    """Seconds that count for which it has been over its cap."""
    tracks: dict[str, float] = field(factory=dict)
    """The same for each person who publishes what is forbidden."""
    people: frozenset[str] = frozenset()
    is_told: bool = False

    def may_be_unknown(self, at: float) -> bool:
        """Whether a guard may not know of the cap yet."""
        return 0.0 <= at - self.tightened <= UNAWARE

    def least_cap(self, at: float) -> int:
        """The lowest cap that a guard may have gone by."""
        caps = [self.policy.cap]
        if at - self.policy.at <= GRACE:
            caps.append(self.before.cap)
        return min((cap for cap in caps if cap is not None), default=0)

    def may_have_seats(self, at: float) -> set[str]:
        """List everybody for whom a seat may be taken."""
        return {user for user, when in self.seen.items() if at - when <= LINGERING} | {
            user for user, when in self.given.items() if at - when <= HOLD + GRACE
        }


@define(eq=False)
class Judge:
    """Takes in what happens, in order, and keeps the violations."""

    windows: list[Window] = field(factory=list)
    violations: list[Violation] = field(factory=list)
    worst_over: float = 0.0
    worst_track: float = 0.0
    hostile: dict[str, str] = field(factory=dict)
    """What each hostile client does at the moment."""
    lived: dict[str, list[float]] = field(factory=dict)
    """For how many seconds forbidden cameras lived, by what their owners did."""
    took: list[float] = field(factory=list)
    """How long honest people's requests for tokens took, in peace."""
    _rooms: dict[int, _Room] = field(factory=dict)
    _tokens: dict[tuple[int, str], float] = field(factory=dict)
    _forgot: list[float] = field(factory=list)
    _last: float | None = None

    def forgot(self, at: float) -> None:
        """Note that LiveKit was killed, and knows nobody any more."""
        self._forgot.append(at)

    def outage(self, begin: float, end: float, kind: str = OUTAGE) -> None:
        """Note a fault, and until when it may be felt."""
        self.windows.append(Window(begin, end, kind))

    def policy(self, room: int, policy: Policy) -> None:
        """Note a policy that was just set."""
        state = self._rooms.setdefault(room, _Room())
        before = state.policy
        is_tighter = policy.cap is not None and (before.cap is None or policy.cap < before.cap)
        state.policy, state.before = policy, before
        if is_tighter:
            state.tightened = policy.at
            state.entitled |= state.people | {
                user
                for (where, user), at in self._tokens.items()
                if where == room and policy.at - at <= HOLD
            }
        state.over, state.is_told = 0.0, False
        if policy.camera != before.camera:
            self._ended(state, {})

    def given(self, room: int, user: str, at: float) -> None:
        """Note that a guard gave a token, which may come out of a drawer at any time."""
        self._rooms.setdefault(room, _Room()).given[user] = at

    def token(self, room: int, user: str, at: float) -> None:
        """Note that a guard gave a token that is used at once."""
        self.given(room, user, at)
        self._tokens[room, user] = at
        state = self._rooms[room]
        if self.is_out(at) or self.is_out(at - GRACE) or state.may_be_unknown(at):
            state.entitled.add(user)

    def failed(self, at: float, what: str) -> None:
        """Note a request for a token that failed."""
        self.violations.append(Violation(at, "tokens", what))

    def answered(self, begun: float, at: float) -> None:
        """Note that an honest request for a token got its answer."""
        if self.is_out(begun) or self.is_out(at):
            return
        self.took.append(at - begun)
        if at - begun > TOKEN_SECONDS:
            self.violations.append(Violation(at, "late", f"a token took {at - begun:.1f} s"))

    def refused(self, room: int, user: str, begun: float, at: float) -> None:
        """Note that somebody honest was told that a room is full."""
        if self.is_out(begun - GRACE) or self.is_out(begun) or self.is_out(at):
            return
        state = self._rooms.get(room, _Room())
        others, cap = state.may_have_seats(begun) - {user}, state.least_cap(begun)
        if len(others) < cap or cap == 0:
            what = f"room {room}: {user} was refused, cap {cap}, others at most {sorted(others)}"
            self.violations.append(Violation(at, "refused", what))

    def removed(self, room: int, user: str, at: float) -> None:
        """Note that a client was put out by somebody."""
        if user in self.hostile:
            return
        given = self._tokens.get((room, user))
        if given is not None and not self._may_be_seatless(room, given, at):
            what = f"{user} was put out of room {room}, {at - given:.1f} s after their token"
            self.violations.append(Violation(at, "removed", what))

    def _may_be_seatless(self, room: int, given: float, at: float) -> bool:
        is_unaware = self._rooms.get(room, _Room()).may_be_unknown(given)
        return is_unaware or any(given < k and at > k + SEAT_GRACE for k in self._forgot)

    def is_out(self, at: float, kinds: Sequence[str] = ()) -> bool:
        """Whether a fault may be felt."""
        return any(w.begin <= at <= w.end and (not kinds or w.kind in kinds) for w in self.windows)

    def saw(self, sight: Sight) -> None:
        """Take in what LiveKit says."""
        passed = 0.0 if self._last is None else sight.at - self._last
        begin = sight.at - passed
        cap = not self.is_out(sight.at) and not self.is_out(begin)
        tracks = not self.is_out(sight.at, (OUTAGE,)) and not self.is_out(begin, (OUTAGE,))
        for number, state in self._rooms.items():
            people = sight.rooms.get(number, {})
            state.people = frozenset(people)
            state.seen.update(dict.fromkeys(people, sight.at))
            state.entitled = {
                user for user in state.entitled if self._may_return(number, user, sight.at)
            }
            self._judge_cap(number, state, sight.at, passed if cap else 0.0)
            self._judge_tracks(number, state, people, sight.at, passed if tracks else 0.0)
        self._last = sight.at

    def _may_return(self, room: int, user: str, at: float) -> bool:
        """Whether a seat is still kept for one: from when they were seen, or for a token."""
        seen = self._rooms[room].seen.get(user)
        given = self._tokens.get((room, user), -inf)
        if seen is None or seen < given:
            return at - given <= HOLD
        return at - seen <= SEAT_GRACE

    def _judge_cap(self, number: int, state: _Room, at: float, passed: float) -> None:
        cap = state.policy.cap
        strangers = state.people - state.entitled
        if cap is None or len(state.people) <= cap or not strangers:
            state.over, state.is_told = 0.0, False
            return
        state.over += passed
        self.worst_over = max(self.worst_over, state.over)
        if state.over > GRACE and not state.is_told:
            state.is_told = True
            what = f"room {number}: {sorted(state.people)}, cap {cap}, not entitled: "
            self.violations.append(Violation(at, "cap", what + str(sorted(strangers))))

    def _judge_tracks(
        self,
        number: int,
        state: _Room,
        people: Mapping[str, frozenset[str]],
        at: float,
        passed: float,
    ) -> None:
        forbidden = (
            {user for user, sources in people.items() if "camera" in sources}
            if not state.policy.camera
            else set()
        )
        now = {user: state.tracks.get(user, -passed) + passed for user in forbidden}
        self._ended(state, now)
        for user, seconds in state.tracks.items():
            self.worst_track = max(self.worst_track, seconds)
            if GRACE < seconds <= GRACE + passed:
                what = f"room {number}: {user} publishes a camera"
                self.violations.append(Violation(at, "tracks", what))

    def _ended(self, state: _Room, tracks: dict[str, float]) -> None:
        """Put down how long those cameras lived that are there no more."""
        for user in state.tracks.keys() - tracks.keys():
            kind = self.hostile.get(user, HONEST)
            self.lived.setdefault(kind, []).append(state.tracks[user])
        state.tracks = tracks
