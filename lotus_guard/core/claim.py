"""What may be given back to one participant: what we took of it, and whether it is still ours.

A claim is kept for an identity in a LiveKit room from its first token on. It rests on the grant
that upstream's token gave, and follows what the participant holds from look to look: by a token
that went out, or because we set it. Once they hold anything else, somebody else has changed it.
Then the claim is over for good: what it takes to come in anew with more is a token of upstream's,
as ever.

Pure values and transitions. Times are seconds since 1970 by LiveKit's clock. Every doubt ends a
claim, and losing one means only that nothing is given back.
"""

from collections.abc import Set as AbstractSet
from math import inf

from attrs import evolve, frozen

from lotus_guard.core.model import Grant, Source
from lotus_guard.core.narrow import EVERY_SOURCE, narrow

SETTLES = 60.0
"""Seconds in which a change whose answer was lost may still be carried out: LiveKit gives its own
work up sooner."""
REFRESHED = 660.0
"""Seconds for which somebody who has left may come back with what they held: LiveKit hands out
tokens for ten minutes, with a minute of leeway (docs/facts.md, LiveKit: joining and leaving)."""
LAG = 1.0
"""Seconds for which LiveKit's list may show what was before a change that LiveKit has confirmed."""
LEEWAY = 60.0
APART = 5.0
"""Seconds by which a session may seem to be older than the token that it came with: our idea of
LiveKit's clock has whole seconds."""
MOST_GRANTS = 8
"""So many different grants are remembered; there are hardly more than two."""
MOST_SOURCES = 8
"""Nothing is given back by a token that names more sources, or longer names, than there are."""
_NOTHING = Grant(can_publish=False, sources=())


def alike(grant: Grant) -> Grant:
    """Write a grant as any other that says the same: its sources in one order, each once."""
    if not grant.can_publish:
        return _NOTHING
    return Grant(True, tuple(sorted({name.lower() for name in grant.sources})))


def meet(one: Grant, other: Grant) -> Grant:
    """What two grants both allow."""
    if not (one.can_publish and other.can_publish):
        return _NOTHING
    if not (one.sources and other.sources):
        return alike(one if one.sources else other)
    both = {name.lower() for name in one.sources} & {name.lower() for name in other.sources}
    return Grant(True, tuple(sorted(both))) if both else _NOTHING


def lacking(grant: Grant, whole: Grant) -> frozenset[str]:
    """Those of the sources we can take that one grant allows and the other does not."""
    return frozenset(name for name in EVERY_SOURCE if _allows(whole, name)) - frozenset(
        name for name in EVERY_SOURCE if _allows(grant, name)
    )


def _allows(grant: Grant, name: str) -> bool:
    sources = grant.sources
    return grant.can_publish and (not sources or name in (each.lower() for each in sources))


def given(grant: Grant, whole: Grant, forbidden: AbstractSet[Source]) -> Grant | None:
    """What a participant with a grant is to have, of the whole without what is forbidden.

    None where that is nothing new. All that they have stays, and only sources that we take are
    added.
    """
    target = narrow(whole, forbidden)
    added = lacking(grant, target)
    if not added:
        return None
    kept = grant.sources if grant.can_publish else ()
    full = (*kept, *(name for name in EVERY_SOURCE if name in added))
    if not target.sources and not set(EVERY_SOURCE) - {name.lower() for name in full}:
        return Grant(can_publish=True, sources=())  # as upstream had it: every source
    return Grant(can_publish=True, sources=full)


@frozen
class Carried:
    """A grant that a token may give on a join, and in which time there are such tokens."""

    grant: Grant
    since: float
    until: float = inf
    """A session that holds the grant has them made anew for as long as it does. Without end where
    nothing is lacking: nobody took anything then, and no look may be due that showed it."""


@frozen
class Session:
    """The session of an identity that was seen last."""

    sid: str
    held: Grant
    """What it holds by our deed, or by its token."""
    is_there: bool = True
    former: Grant | None = None
    """What it held before LiveKit confirmed the last change, while no look has shown that."""
    changed: float = 0.0
    """When LiveKit confirmed it."""

    def is_late(self, grant: Grant, now: float) -> bool:
        """Whether a list may show this grant though it was changed already."""
        return grant == self.former and now <= self.changed + LAG


@frozen
class Claim:
    """What may be given back to one identity in one LiveKit room."""

    granted: Grant
    """What all of upstream's tokens allowed: the most that is ever given."""
    carried: tuple[Carried, ...] = ()
    """What a session may begin with: by tokens that went out, or that LiveKit made anew of what we
    had set."""
    session: Session | None = None
    """None before the first."""
    under_way: tuple[Grant, ...] = ()
    """What was sent and has not been seen yet: once for each time that it was sent."""
    settles: float = 0.0
    """From then on nothing of that can come any more."""
    lasts: float = 0.0
    """Until when somebody may come in with less than was granted."""
    is_over: bool = False
    """Somebody else has changed what they hold, or it is not to be given back."""

    def owes(self, now: float) -> bool:
        """Whether there is, or may soon be, somebody who holds less than was granted."""
        if self.is_over:
            return False
        return now < self.lasts or bool(self.session and self.session.is_there and self._lacks())

    def _lacks(self) -> bool:
        return bool(self.session and lacking(self.session.held, self.granted))

    def seen(self, sid: str, joined: float, grant: Grant, now: float) -> "Claim":
        """Take in what a session holds that was begun at `joined`, by a look.

        What is neither by our deed nor by a token that the session can have come with, somebody
        else has set.
        """
        this = Session(sid, alike(grant))
        if self.is_over or this == self.session:
            return self
        is_sent = this.held in self.under_way and now <= self.settles
        if self.session is None or self.session.sid != sid:
            is_ours = is_sent or self._came_with(this.held, joined)
        elif self.session.is_late(this.held, now):
            return self
        else:
            is_ours = is_sent or this.held == self.session.held
        if not is_ours:
            return OVER
        left = list(self.under_way)
        if is_sent:
            left.remove(this.held)
        after = self if self._is_held(this.held) else self._put_by(now)
        carried = (
            each for each in after.carried if each.grant == this.held or now <= each.until + APART
        )
        return evolve(after, session=this, under_way=tuple(left), carried=tuple(carried))

    def _came_with(self, grant: Grant, joined: float) -> bool:
        return any(
            each.grant == grant
            and each.since <= joined + APART
            and (joined <= each.until + APART or self._is_held(grant))
            for each in self.carried
        )

    def _is_held(self, grant: Grant) -> bool:
        return bool(self.session and self.session.is_there and self.session.held == grant)

    def _put_by(self, now: float) -> "Claim":
        """The claim once a session holds something else: of what it held there are tokens yet."""
        if self.session is None or not self.session.is_there:
            return self
        return self.carrying(self.session.held, now, now + REFRESHED)

    def carrying(self, grant: Grant, now: float, until: float) -> "Claim":
        """Take note of tokens with a grant, from now on and for some time.

        Where there were such tokens before, and are none any more, no session of the time between
        came with one.
        """
        lacks = bool(lacking(grant, self.granted))
        same = [each for each in self.carried if each.grant == grant and now <= each.until + APART]
        this = Carried(
            grant,
            min((each.since for each in same), default=now),
            max([until if lacks else inf, *(each.until for each in same)]),
        )
        carried = (*(each for each in self.carried if each not in same), this)
        lasts = max(self.lasts, until) if lacks else self.lasts
        return evolve(self, carried=carried[-MOST_GRANTS:], lasts=lasts)

    def left(self, now: float) -> "Claim":
        """Take in that nobody of this identity is there any more."""
        if self.is_over or self.session is None or not self.session.is_there:
            return self
        return evolve(self._put_by(now), session=evolve(self.session, is_there=False))

    def setting(self, grant: Grant, now: float) -> "Claim":
        """Take note that a grant is about to be sent to LiveKit."""
        if self.is_over:
            return self
        this = alike(grant)
        before = self.under_way if now <= self.settles else ()
        return evolve(
            self.carrying(this, now, now + SETTLES + REFRESHED),
            under_way=(*before, this)[-MOST_GRANTS:],
            settles=now + SETTLES,
        )

    def confirmed(self, grant: Grant, now: float) -> "Claim":
        """Take note that LiveKit has confirmed a change: what was before is no doing of ours."""
        this, left = alike(grant), list(self.under_way)
        if self.is_over or self.session is None or this not in left:
            return self
        left.remove(this)
        session = evolve(self.session, held=this, former=self.session.held, changed=now)
        after = self if self._is_held(this) else self._put_by(now)
        return evolve(after, session=session, under_way=tuple(left))

    def awaited(self, now: float) -> "Claim":
        """The claim as it is read after a while in which nobody looked who came in."""
        if self.is_over or not any(lacking(each.grant, self.granted) for each in self.carried):
            return self
        return evolve(self, lasts=max(self.lasts, now + LEEWAY))

    def may_give(self, grant: Grant, forbidden: AbstractSet[Source]) -> Grant | None:
        """What a participant is to have who was just seen with a grant; None for no change."""
        if self.is_over or self.session is None or self.session.held != alike(grant):
            return None
        return given(grant, self.granted, forbidden)


OVER = Claim(_NOTHING, is_over=True)
"""The claim after which nothing is given back."""


@frozen
class Issue:
    """A token for an identity that goes out."""

    granted: Grant
    """What may be given back of what upstream allows."""
    grant: Grant
    """What it allows as it goes out."""
    now: float
    ends: float | None
    """When it runs out; None: never."""

    def after(self, claim: Claim | None) -> Claim:
        """The claim with this token; several tokens of one identity give what all of them allow."""
        if claim is not None and claim.is_over:
            return claim
        if not _is_usual(self.granted):
            return OVER
        granted = meet(claim.granted, self.granted) if claim else alike(self.granted)
        before = evolve(claim, granted=granted) if claim else Claim(granted)
        until = self.now + REFRESHED if self.ends is None else self.ends + LEEWAY
        return before.carrying(alike(self.grant), self.now, until)


def _is_usual(grant: Grant) -> bool:
    """Whether a grant has about the sources that there are: what is kept of it has a bound."""
    return len(grant.sources) <= MOST_SOURCES and all(len(name) <= 32 for name in grant.sources)
