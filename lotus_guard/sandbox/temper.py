"""How homeservers differ in what they let whom see of a room.

Synapse 1.163 and Dendrite 0.13.8 were asked, of the other two it was read (docs/facts.md, Any
homeserver: who may ask what about a room).
"""

from collections.abc import Mapping

from attrs import frozen


@frozen
class Refusals:
    """Status and code of its refusals, where homeservers differ."""

    hidden: tuple[int, str] = (403, "M_FORBIDDEN")
    """To a user who may not look into a room, or into one that there is not."""
    not_named: tuple[int, str] = (403, "M_FORBIDDEN")
    """To an application service that may not act as a user."""
    unknown_room: tuple[int, str] = (404, "M_NOT_FOUND")
    """By the admin API about a room that there is not."""


@frozen
class Temper:
    """The ways of one homeserver."""

    name: str
    admin_paths: frozenset[str] = frozenset()
    """What there is of Synapse's admin API, by the last part of its paths."""
    refusals: Refusals = Refusals()
    frozen_at: frozenset[str] = frozenset()
    """Memberships with which a user reads the room as it was when they got them."""
    users_must_exist: bool = True
    """Whether an application service can act only as users who have an account."""
    has_dendrites_ways: bool = False
    """Whether a user of another server is answered 401, as if the token were bad; whoever reads
    from outside is shown another event instead of one that there is not; and of a world-readable
    room, a stranger sees the members alone."""
    has_knocks: bool = True
    forgets_deactivated: bool = False
    """Whether a user whose account has ended cannot read, as they could who have left."""


SYNAPSE = Temper(
    "synapse",
    admin_paths=frozenset({"server_version", "rooms", "state", "members", "joined_rooms"}),
    frozen_at=frozenset({"leave"}),
    forgets_deactivated=True,
)
TUWUNEL = Temper(
    "tuwunel",
    admin_paths=frozenset({"state", "members"}),
    refusals=Refusals((404, "M_NOT_FOUND"), (400, "M_EXCLUSIVE"), (500, "M_UNKNOWN")),
    users_must_exist=False,
)
CONTINUWUITY = Temper(
    "continuwuity",
    refusals=Refusals((404, "M_NOT_FOUND"), (400, "M_EXCLUSIVE")),
    users_must_exist=False,
)
DENDRITE = Temper(
    "dendrite",
    frozen_at=frozenset({"leave", "invite"}),
    has_dendrites_ways=True,
    has_knocks=False,
)
TEMPERS: Mapping[str, Temper] = {
    each.name: each for each in (SYNAPSE, TUWUNEL, CONTINUWUITY, DENDRITE)
}
