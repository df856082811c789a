"""Whether somebody is in a Matrix room, as far as their homeserver or ours can say.

For its own users a homeserver is the authority: whoever it does not show as joined is not. Of the
users of others it may have heard late, or nothing at all: only what it was told in so many words
counts (docs/facts.md, Any homeserver: who may ask what about a room).
"""

from enum import StrEnum

from attrs import frozen

from lotus_guard.core.model import UserId

MEMBER = "m.room.member"
"""The type of the events that say who is in a room."""


class Membership(StrEnum):
    """What a homeserver says of somebody and a room."""

    JOIN = "join"
    INVITE = "invite"
    KNOCK = "knock"
    LEAVE = "leave"
    BAN = "ban"
    UNHEARD = "unheard"
    """It knows the room, and nothing of them in it."""
    NO_ROOM = "no room"
    """It does not know the room."""


SAID = frozenset({Membership.INVITE, Membership.KNOCK, Membership.LEAVE, Membership.BAN})
"""What is said in so many words, and is no membership."""


@frozen
class Standing:
    """What is known of somebody and a room when they are judged."""

    membership: Membership
    is_local: bool
    """Whether they are a user of the homeserver that was asked."""
    source: str = ""
    """Who said so: the name of a way to ask the homeserver, or `push`."""

    @property
    def is_outside(self) -> bool:
        """Whether it is certain that they are not in the room."""
        if self.is_local:
            return self.membership is not Membership.JOIN
        return self.membership in SAID


def server_of(user: UserId) -> str:
    """The name of a user's homeserver; empty for what is no user id."""
    local, _, server = user.partition(":")
    return server if local.startswith("@") else ""


def membership_of(said: object) -> Membership:
    """Read the field of a member event; what is none of Matrix's is nothing that was said."""
    known = {each.value: each for each in (Membership.JOIN, *SAID)}
    return known.get(said, Membership.UNHEARD) if isinstance(said, str) else Membership.UNHEARD
