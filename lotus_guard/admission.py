"""One token answer, judged from start to end.

We judge the *answer*: the alias and the identity inside the token that upstream signed, never
what the request claims. The limit and the source policy are two rules with two lives: each has
its own look-ups, deadline and counters, and ends in a value, so that neither's outage or slowness
skips or delays the other's verdict. Deadlines count from upstream's answer on, because a client
can make upstream slow.
"""

from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, TypeVar

from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lotus_guard.book import Book
from lotus_guard.core.decision import (
    Ruling,
    hoard_refused,
    seat_refused,
    slots_refused,
    token_changed,
)
from lotus_guard.core.hoard import Hoards
from lotus_guard.core.knowledge import Grounds, Knowledge, Place, Recent, place_from, user_from
from lotus_guard.core.model import (
    Identity,
    LimitPolicy,
    RoomId,
    Rule,
    Source,
    SourcePolicy,
    UserId,
)
from lotus_guard.core.naming import USUAL_SLOTS
from lotus_guard.core.seats import Person, Seating, Seats
from lotus_guard.core.token import (
    KeyPair,
    NotOurs,
    Token,
    Unfit,
    begins,
    lifetime,
    open_token,
    restrain,
    sign,
)
from lotus_guard.core.wire import TokenRequest
from lotus_guard.credentials import Credential
from lotus_guard.flight import ignoring, within
from lotus_guard.policies import MOST_AHEAD, Policies, Restricting
from lotus_guard.ports import Flooded, Now, Outage, Reason, Records
from lotus_guard.presence import KEPT, Presence

MOST_SLOTS = 64
"""How many LiveKit rooms of one Matrix room are known at once; the ordinary slot always is.

The slot is the client's to choose, and each one makes every look at the room longer, for all of
them are asked each time. Honest clients use one to three."""

LOOK_MAX_AGE = 3.0
"""Seconds for which a look may let somebody in: so long that those of the live loop serve.

Whom it does not show has a seat held or came without one, and for the latter the live loop's three
seconds hold anyway. Nobody is refused on a look that was begun before he asked."""

MOST_ISSUED = 20_000
"""Of so many identities the last token's time is known."""

_log = Logger()

P = TypeVar("P", bound=Restricting)
V = TypeVar("V")


class Journal(Protocol):
    """Takes note of how the rules fare, for metrics and the log."""

    def used_stale(self, rule: Rule, outage: Outage) -> None:
        """Note that a policy known from before was used because Synapse is out."""


@frozen
class Asked:
    """What a request for a token said, and how far that may be believed."""

    request: TokenRequest
    at_token_endpoint: bool


@frozen
class Pass:
    """The token goes out; `token` replaces it where rights were taken away."""

    token: str | None = None
    decision: str = ""
    """The id of the decision to change it."""


@frozen
class Refusal:
    """The room's call is full."""

    limit: int
    users: int
    decision: str = ""


@frozen
class Crowd:
    """More was asked for than any honest client does: slots of a room, or tokens of one user."""

    decision: str = ""


Verdict = Pass | Refusal | Crowd


@frozen
class Seeker:
    """Somebody who was issued a token, and for which room."""

    room: RoomId
    person: Person
    identity: Identity
    arrived: float
    """When the request came in."""
    due: float
    """When each rule must have found out what its verdict rests on."""
    user: UserId | None = None
    """Who they are, where the request told us."""


@frozen
class Cap:
    """The limit rule's findings: the limit that holds, and the moment of the look behind it."""

    limit: int
    at: float


_NOWHERE = Place(RoomId(""), "", Grounds.BELIEF)


class _Crowded(Exception):
    """A token for one slot too many, or for one identity of a user."""

    def __init__(self, ruling: Ruling) -> None:
        super().__init__()
        self.ruling = ruling


@define(eq=False)
class Admission:
    """Judges tokens by the policies of the room that they are for."""

    keys: Credential[KeyPair]
    deadline: float
    """Seconds a rule may keep a finished upstream answer waiting."""
    token_life: int
    knowledge: Knowledge
    seats: Seats
    """What this guard knows of the seats; changes go through the book."""
    book: Book
    presence: Presence
    limits: Policies[LimitPolicy]
    sources: Policies[SourcePolicy]
    journal: Journal
    records: Records
    clock: IReactorTime
    now: Now
    epoch: Callable[[], float]
    observed: AbstractSet[str] = frozenset()
    """The rules that decide and record, and change nothing."""
    on_issued: Callable[[RoomId], None] = lambda _room: None
    """Told of each room that a token is issued for."""
    issued: Recent[Identity, int] = field(factory=lambda: Recent(MOST_ISSUED))
    """From when on the last token that was given to each identity is valid (`nbf`)."""
    hoards: Hoards = field(factory=Hoards)
    reserve: float = 0.0
    """Seconds of the deadline that are left for taking the seat, where the book is a server."""

    def ahead(self, request: TokenRequest) -> None:
        """Begin the look-ups for a request while upstream works on it."""
        if request.room is None:
            return
        self.limits.ahead(request.room)
        self.sources.ahead(request.room)
        last = self.limits.last(request.room)
        if last and last.restricts and self.presence.looks < MOST_AHEAD:
            self._begin_look(request.room, self.now() - LOOK_MAX_AGE)

    def _begin_look(self, room: RoomId, not_before: float) -> None:
        """Begin the look that will be needed, unless there is one that serves."""
        if self.presence.at_hand(room, not_before) is None:
            ignoring(ensureDeferred(self.presence.look(room, not_before)), Outage, Flooded)

    async def judge(
        self, encoded: str, asked: Asked | None, arrived: float, hurry: Outage | None = None
    ) -> Verdict:
        """Judge an issued token; `arrived` is when its request came in (seconds of `now`).

        Where the guard has more to do than it can, `hurry` says so: the token goes out unguarded,
        and is only learnt from. Raises Unfit, and CancelledError when the client has gone.
        """
        try:
            token = self._open(encoded)
            verdict = await self._judge(token, asked, arrived, hurry)
            begin = begins(token)
            if isinstance(verdict, Pass) and begin is not None:
                self.issued.put(token.identity, begin)
            return verdict
        except NotOurs as why:
            return self._open_both(Outage(Reason.SECRET, str(why)))
        except _Crowded as crowded:
            return self._crowded(crowded)
        except (CancelledError, Unfit):
            raise
        except Exception:
            _log.failure("A token could not be judged")
            return self._open_both(Outage(Reason.BUG, "see the traceback in the log"))

    def _open(self, encoded: str) -> Token:
        """Verify and read a token, by what is in the files by now if need be; raises NotOurs."""
        used = self.keys.value
        try:
            return open_token(encoded, self.keys.known())
        except NotOurs:
            if not self.keys.renewed(used):
                raise
        return open_token(encoded, self.keys.known())

    async def _judge(
        self, token: Token, asked: Asked | None, arrived: float, hurry: Outage | None
    ) -> Verdict:
        seeker = self._learn(token, asked, arrived)
        if seeker is None:
            person = self.knowledge.person(token.identity)
            return self._open_both(
                Outage(Reason.UNKNOWN_ROOM, "token for an unknown alias"), person
            )
        if hurry:
            return self._let_go(seeker, hurry)
        # A policy that is at hand needs no life of its own: a Deferred costs what a rule does.
        policy = self.sources.at_hand(seeker.room)
        sources = None if policy else ensureDeferred(self._sources_rule(seeker))
        try:
            found = await self._rule(Rule.LIMIT, seeker, self._limit(seeker))
            if isinstance(found, Refusal):
                refusal = await self._refuse(seeker, found)
                if refusal:
                    return refusal
                found = None
            if sources is not None:
                policy = await sources
        finally:
            if sources is not None:
                ignoring(sources, CancelledError)
                sources.cancel()
        return await self._conclude(seeker, token, found, policy)

    def _let_go(self, seeker: Seeker, hurry: Outage) -> Pass:
        """Let a token out unguarded; the live loop sees to it when its user has come in."""
        ignoring(ensureDeferred(self._keep(seeker)), Outage)  # not waited for
        for rule in Rule:
            self.records.failed_open(rule, hurry, seeker.room, again=True)
        return Pass()

    def _open_both(self, outage: Outage, user: Person | None = None) -> Pass:
        for rule in Rule:
            self.records.failed_open(rule, outage, None, user)
        return Pass()

    def _crowded(self, crowded: _Crowded) -> Verdict:
        return Crowd(self.records.decided(crowded.ruling))

    def _learn(self, token: Token, asked: Asked | None, arrived: float) -> Seeker | None:
        place = self.knowledge.place_of(token.alias)
        user = None
        if asked:
            claimed = place_from(token.alias, asked.request, asked.at_token_endpoint)
            user = user_from(token.identity, asked.request, asked.at_token_endpoint)
            excess = self._excess(token, place, claimed, user)
            if excess:
                if Rule.LIMIT not in self.observed:
                    raise _Crowded(excess)
                # The other rules hold all the same; it is judged, and nothing of it is remembered.
                self.records.decided(excess, observed=True)
                place, user = place or claimed, None
            elif claimed:
                place = self.knowledge.learn_alias(token.alias, claimed)
        if user and self.knowledge.user_of(token.identity) in (None, user):
            self.knowledge.learn_identity(token.identity, user, token.alias)
        if place is None:
            return None
        self.on_issued(place.room)
        person = user or self.knowledge.person(token.identity)
        due = self.now() + self.deadline - self.reserve
        return Seeker(place.room, person, token.identity, arrived, due, user)

    def _excess(
        self, token: Token, place: Place | None, claimed: Place | None, user: UserId | None
    ) -> Ruling | None:
        """Tell whether a token is for more slots, or more devices, than any honest client has."""
        if claimed and not place and self._is_crowded(claimed):
            who = user or self.knowledge.person(token.identity)
            return slots_refused(claimed.room, who, MOST_SLOTS)
        room = (place or claimed or _NOWHERE).room
        if user and not self.hoards.may(user, room, token.identity, self.now()):
            return hoard_refused(room, user)
        return None

    def _is_crowded(self, place: Place) -> bool:
        return (
            place.slot not in USUAL_SLOTS
            and len(self.knowledge.aliases_of(place.room)) >= MOST_SLOTS
        )

    async def _rule(self, rule: Rule, seeker: Seeker, verdict: Coroutine[Any, Any, V]) -> V | None:
        """Run one rule; None where it had to let the call through."""
        try:
            return await verdict
        except CancelledError:
            raise
        except Outage as failure:
            outage = failure
        except Exception:
            _log.failure("The {rule} rule failed", rule=rule)
            outage = Outage(Reason.BUG, "see the traceback in the log")
        self.records.failed_open(rule, outage, seeker.room, seeker.person)
        return None

    async def _limit(self, seeker: Seeker) -> Cap | Refusal | None:
        self._foresee(seeker)
        try:
            policy, is_certain = await self._policy(Rule.LIMIT, self.limits, seeker)
            if policy.max_users is None:
                if not is_certain:  # there may be a limit by now: it must not put him out
                    await self._keep(seeker)
                return None
            return await self._cap(seeker, policy.max_users)
        except Outage:
            # He may well come in: whoever is judged next must count him.
            await self._keep(seeker)
            raise

    def _foresee(self, seeker: Seeker) -> None:
        """Begin the look that the last known limit asks for, beside the look-up of the policy.

        A look-up that hangs would leave LiveKit no time to answer.
        """
        last = self.limits.last(seeker.room)
        if last and last.max_users and self.limits.at_hand(seeker.room) is None:
            self._begin_look(seeker.room, self._not_before(seeker, last.max_users))

    def _not_before(self, seeker: Seeker, limit: int) -> float:
        """Tell how old a look may be: nobody is refused on one that was begun before they asked."""
        fresh = self.now() - LOOK_MAX_AGE
        at = self.presence.at_hand(seeker.room, fresh)
        return fresh if at is None or self._ask(seeker, limit, at).admitted else seeker.arrived

    async def _cap(self, seeker: Seeker, limit: int) -> Cap | Refusal:
        try:
            at = await self._look(seeker, self._not_before(seeker, limit))
            seating = self._ask(seeker, limit, at)
            if not seating.admitted and at < seeker.arrived:
                at = await self._look(seeker, seeker.arrived)
                seating = self._ask(seeker, limit, at)
        except (Flooded, Outage) as why:
            if isinstance(why, Outage) and not self._may_be_clients_doing(seeker.room, why):
                raise
            # Nobody's way in. What was seen last and is held since counts.
            at = await self.presence.last_resort(seeker.room)
            seating = self._ask(seeker, limit, at)
        return Cap(limit, at) if seating.admitted else Refusal(limit, seating.users)

    def _may_be_clients_doing(self, room: RoomId, outage: Outage) -> bool:
        """Tell whether clients may have made LiveKit slow, which a look of a moment ago outlasts.

        One with a track name of 30 MB in a room of their own, and somebody who joins it twenty
        times a second, are enough. Where LiveKit really hangs, nobody it could let in is kept out.
        """
        is_recent = self.now() - self.presence.last_look(room) <= KEPT
        return outage.reason is Reason.TIMEOUT and is_recent

    def _ask(self, seeker: Seeker, limit: int, at: float) -> Seating:
        """Ask for a seat by what this guard knows; whoever takes one asks the book (`_take`)."""
        return self.seats.ask(seeker.room, seeker.person, seeker.identity, limit, at)

    async def _keep(self, seeker: Seeker) -> None:
        who = (seeker.room, seeker.person, seeker.identity)
        await self.book.change(seeker.room, lambda seats: seats.keep(*who, self.now()))

    async def _look(self, seeker: Seeker, not_before: float) -> float:
        at = self.presence.at_hand(seeker.room, not_before)
        if at is None:
            seen = await self._in_time(seeker, self.presence.look(seeker.room, not_before))
            at = seen.at
        return at

    async def _sources_rule(self, seeker: Seeker) -> SourcePolicy | None:
        found = await self._rule(
            Rule.SOURCES, seeker, self._policy(Rule.SOURCES, self.sources, seeker)
        )
        return found[0] if found else None

    async def _policy(self, rule: Rule, policies: Policies[P], seeker: Seeker) -> tuple[P, bool]:
        """Find out about a policy, and whether it is certain or what was known before an outage.

        One that is known to restrict is waited for half the time: the other half is for what it
        asks for.
        """
        policy = policies.at_hand(seeker.room)
        if policy is not None:
            return policy, True
        last = policies.last(seeker.room)
        share = 0.5 if last is not None and last.restricts else 1.0
        try:
            return await self._in_time(seeker, policies.get(seeker.room), share), True
        except Outage as outage:
            last = policies.last(seeker.room)
            if last is None:
                raise
            self.journal.used_stale(rule, outage)
            return last, False

    async def _in_time(self, seeker: Seeker, work: Coroutine[Any, Any, V], share: float = 1.0) -> V:
        """Wait for something, for at most this share of the time that is left; raises Outage."""
        try:
            return await within(max(0.0, seeker.due - self.now()) * share, self.clock, work)
        except TimeoutError:
            raise Outage(Reason.TIMEOUT, "our own deadline") from None

    async def _conclude(
        self, seeker: Seeker, token: Token, cap: Cap | None, policy: SourcePolicy | None
    ) -> Verdict:
        """Take the seat, in one step, and narrow the token."""
        if cap:
            seating = await self._take(seeker, cap)
            if not seating.admitted:
                refusal = await self._refuse(seeker, Refusal(cap.limit, seating.users))
                if refusal:
                    return refusal
                cap = None
        forbidden = policy.forbidden if policy else frozenset()
        return self._restrain(seeker, token, cap is not None, forbidden)

    async def _take(self, seeker: Seeker, cap: Cap) -> Seating:
        """Take a seat in the book, which may know of people whom this guard has not heard of.

        Where it says no by an older look, a new one decides, if LiveKit tells in time.
        """
        seating = await self._admit(seeker, cap.limit, cap.at)
        if seating.admitted or cap.at >= seeker.arrived:
            return seating
        try:
            at = await self._look(seeker, seeker.arrived)
        except (Outage, Flooded):
            return seating
        return await self._admit(seeker, cap.limit, at)

    async def _admit(self, seeker: Seeker, limit: int, at: float) -> Seating:
        who = (seeker.room, seeker.person, seeker.identity)
        return await self.book.change(
            seeker.room, lambda seats: seats.admit(*who, limit, at, self.now())
        )

    def _restrain(
        self, seeker: Seeker, token: Token, is_capped: bool, forbidden: AbstractSet[Source]
    ) -> Pass:
        """Narrow and shorten a token by the rules that are enforced, record what others would."""
        if seeker.user:  # whose identity was another's: they may be there by it from now on
            self.knowledge.learn_identity(token.identity, seeker.user, token.alias)
        is_bound = is_capped and Rule.LIMIT not in self.observed
        taken = frozenset() if Rule.SOURCES in self.observed else forbidden
        if (is_bound, taken) != (is_capped, forbidden):
            self._restrained(seeker, token, is_capped, forbidden, observed=True)
        restrained, decision = self._restrained(seeker, token, is_bound, taken)
        return Pass(sign(restrained), decision) if restrained else Pass()

    def _restrained(
        self,
        seeker: Seeker,
        token: Token,
        is_capped: bool,
        forbidden: AbstractSet[Source],
        observed: bool = False,
    ) -> tuple[Token | None, str]:
        """Restrain a token and put that on record; None where there is nothing to take."""
        if not is_capped and not forbidden:
            return None, ""
        restrained = restrain(token, forbidden, self.token_life, self.epoch())
        if restrained is token:
            return None, ""
        seconds = lifetime(token, self.epoch())
        ruling = token_changed(
            seeker.room, seeker.person, token.grant, forbidden, seconds, self.token_life
        )
        return restrained, self.records.decided(ruling, observed=observed)

    async def _refuse(self, seeker: Seeker, refusal: Refusal) -> Refusal | None:
        """Put a refusal on record; None where the limit is only observed: he comes in."""
        observed = Rule.LIMIT in self.observed
        room, person = seeker.room, seeker.person
        sitting = self.seats.taken(room, self.now())
        ruling = seat_refused(room, person, refusal.limit, refusal.users, sitting)
        decision = self.records.decided(ruling, observed=observed)
        if observed:
            await self._keep(seeker)
            return None
        return evolve(refusal, decision=decision)
