"""Gives back what we took, where it is not forbidden any more: the part of it that does things.

The token path tells what upstream granted and what went out; each look of the live loop tells what
people hold; and whatever we are about to set is noted before it is sent. What comes of it all is
for `core.claim` and `rules.giving` to say. Only the guard that leads gives, and only by policies
that are certain.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from attrs import define
from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.logger import Logger

from lotus_guard.core.claim import OVER, Claim, Issue
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Attendance, Grant, Identity, LiveKitRoom, Participant, RoomId
from lotus_guard.core.token import Token
from lotus_guard.enforce.claims import ClaimStore, Key
from lotus_guard.enforce.deferreds import gather_bounded, ignoring
from lotus_guard.enforce.issuing import Pass
from lotus_guard.enforce.ports import Allowance, Outage, Reason, RoomService
from lotus_guard.rules.giving import forfeited, give_back, key_of, missing, people
from lotus_guard.rules.plan import Bans, GiveBack, Step

_log = Logger()

BansOf = Callable[[LiveKitRoom, Participant], Bans | None]
"""What the rules forbid a participant; None where that is not certain."""

AT_ONCE = 16
MOST_RECORD = 1024 * 1024


@define(eq=False)
class Giving:
    """Follows what people hold, and gives back."""

    store: ClaimStore
    directory: Directory
    service: RoomService
    epoch: Callable[[], float]
    """Seconds since 1970 by LiveKit's clock."""

    # The token path.

    def issued(self, token: Token, passed: Pass) -> None:
        """Take note of a token that goes out; never raises, for it goes out all the same."""
        try:
            issue = self._issue(token, passed)
            work = self.store.change((token.livekit_room, token.identity), issue.after)
            ignoring(ensureDeferred(work), Outage)
        except Exception:
            _log.failure("Could not record what a token grants")

    def _issue(self, token: Token, passed: Pass) -> Issue:
        sent = passed.sent or token
        ends = sent.claims.get("exp")
        granted = token.grant if passed.granted is None else passed.granted
        end = float(ends) if isinstance(ends, int | float) else None
        return Issue(granted, sent.grant, self.epoch(), end)

    # The live loop.

    def owes(self, room: RoomId) -> bool:
        """Whether somebody in a room may hold less than upstream granted them."""
        now, owes = self.epoch(), self.store.claims.owes
        return any(owes(each, now) for each in self.directory.livekit_rooms_of(room))

    async def begin(self, livekit_rooms: Collection[LiveKitRoom]) -> None:
        """A pass of the guard that leads begins: know what the one before it did."""
        await self._load(livekit_rooms)

    def step_down(self) -> None:
        """Take note that another guard leads."""
        self.store.step_down()

    async def lifted(self, room: RoomId) -> None:
        """Take note that a room has no policy any more: whom others gave tokens has a claim too."""
        await self._load(self.directory.livekit_rooms_of(room), again=True)

    async def _load(self, livekit_rooms: Collection[LiveKitRoom], again: bool = False) -> None:
        with suppress(Outage):  # counted where it happened; what is not known is not given back
            await self.store.load(livekit_rooms, again)

    async def look(
        self, rooms: Mapping[LiveKitRoom, Attendance], steps: Sequence[Step], bans_of: BansOf
    ) -> list[GiveBack]:
        """Follow what people are seen to hold; list what is to be given back.

        `steps` are those that the policies call for: whoever gets one is given nothing meanwhile.
        A mistake in this keeps nothing from being taken.
        """
        try:
            return await self._look(rooms, steps, bans_of)
        except CancelledError:
            raise
        except Exception:
            _log.failure("Could not find out what to give back")
            return []

    async def _look(
        self, rooms: Mapping[LiveKitRoom, Attendance], steps: Sequence[Step], bans_of: BansOf
    ) -> list[GiveBack]:
        for key in forfeited(steps):
            await self._changed(key, lambda _claim: OVER)
        for livekit_room, attendance in rooms.items():
            known = self.store.claims.identities_in(livekit_room)
            for identity in missing(attendance, known):
                await self._left((livekit_room, identity))
        busy = {key_of(step) for step in steps}
        work = (self._given(*each, busy, bans_of) for each in people(rooms))
        return [step for step in await gather_bounded(AT_ONCE, work) if step is not None]

    async def _given(
        self, livekit_room: LiveKitRoom, participant: Participant, busy: set[Key], bans_of: BansOf
    ) -> GiveBack | None:
        key = (livekit_room, participant.identity)
        claim = await self._seen(key, participant)
        bans = bans_of(livekit_room, participant) if claim and key not in busy else None
        if claim is None or bans is None:
            return None
        return give_back(livekit_room, participant, claim, bans)

    async def _seen(self, key: Key, participant: Participant) -> Claim | None:
        try:
            claim = await self.store.find(key, participant.sid)
        except Outage:
            return None

        def see(claim: Claim | None) -> Claim | None:
            return claim and _with_seen(claim, participant, self.epoch())

        return claim if see(claim) == claim else await self._changed(key, see)

    async def _left(self, key: Key) -> None:
        def leave(claim: Claim | None) -> Claim | None:
            return claim and claim.left(self.epoch())

        claim = self.store.claims.get(key)
        if leave(claim) != claim:
            await self._changed(key, leave)

    async def _changed(
        self, key: Key, work: Callable[[Claim | None], Claim | None]
    ) -> Claim | None:
        """Change a claim; None where the others cannot be told: then nothing is given."""
        try:
            return await self.store.change(key, work)
        except CancelledError:
            raise
        except Outage:
            return None
        except Exception:
            _log.failure("Could not record a claim")
            return None

    # What is sent to LiveKit.

    async def sending(self, livekit_room: LiveKitRoom, identity: Identity, grant: Grant) -> None:
        """Take note of what is about to be set."""
        key = (livekit_room, identity)
        if self.store.claims.get(key) is not None:
            await self._changed(key, lambda claim: claim and claim.setting(grant, self.epoch()))

    async def confirmed(self, livekit_room: LiveKitRoom, identity: Identity, grant: Grant) -> None:
        """Take note of what LiveKit has confirmed."""
        key = (livekit_room, identity)
        if self.store.claims.get(key) is not None:
            await self._changed(key, lambda claim: claim and claim.confirmed(grant, self.epoch()))

    async def give(self, step: GiveBack) -> None:
        """Gives back; raises Outage, also where it is not to be given any more.

        Between a look and what follows from it somebody else may have changed what they hold, and a
        change replaces all of it (docs/facts.md, LiveKit: permissions): so they are looked at once
        more.
        """
        livekit_room, identity = key = key_of(step)
        there = await self.service.participant(livekit_room, identity, Allowance(MOST_RECORD))
        if there is None:
            raise Outage(Reason.NOT_FOUND, "they left after the guard looked")
        is_theirs = False

        def claim_it(claim: Claim | None) -> Claim | None:
            nonlocal is_theirs
            claim = claim and _with_seen(claim, there, self.epoch())
            is_theirs = bool(claim and claim.may_give(there.grant, step.forbidden) == step.grant)
            return claim.setting(step.grant, self.epoch()) if claim and is_theirs else claim

        await self.store.change(key, claim_it)
        if not is_theirs:
            raise Outage(Reason.NOT_FOUND, "their permissions changed after the guard looked")
        await self.service.permit(livekit_room, there, step.grant)
        await self.confirmed(livekit_room, identity, step.grant)


def _with_seen(claim: Claim, there: Participant, now: float) -> Claim:
    return claim.seen(there.sid, there.joined, there.grant, now)


@define(eq=False)
class Hands:
    """What changes people's rights at LiveKit, with note of it where things are given back."""

    service: RoomService
    giving: Giving | None = None
    """None where nothing is ever given back."""

    async def permit(
        self, livekit_room: LiveKitRoom, participant: Participant, grant: Grant
    ) -> None:
        """Take from what a participant may publish; raises Outage."""
        if self.giving is not None:
            await self.giving.sending(livekit_room, participant.identity, grant)
        await self.service.permit(livekit_room, participant, grant)
        if self.giving is not None:
            await self.giving.confirmed(livekit_room, participant.identity, grant)

    async def curb(self, livekit_room: LiveKitRoom, identity: Identity) -> None:
        """Take from a participant, unread, all that they can fill a room's list with."""
        await self.service.curb(livekit_room, identity)

    async def give(self, step: GiveBack) -> None:
        """Gives back; raises Outage."""
        if self.giving is not None:
            await self.giving.give(step)
