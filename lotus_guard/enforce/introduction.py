"""Who the holder of an issued token is, and which room it is for: learnt, and remembered.

We judge the *answer*: the LiveKit room and the identity inside the token that upstream signed,
never what the request claims. What the request said counts where a hash proves it.
"""

from attrs import define, field, frozen

from lotus_guard.core.binding import Binding, binding_from, user_from
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.naming import USUAL_SLOTS
from lotus_guard.core.seats import Person
from lotus_guard.core.sentence import Sentence
from lotus_guard.core.token import Token
from lotus_guard.enforce.identity_quota import IdentityQuota
from lotus_guard.enforce.ports import Now
from lotus_guard.enforce.recipient import Asked
from lotus_guard.rules.rule import Refuse

MOST_SLOTS = 64
"""How many LiveKit rooms of one Matrix room are known at once; the ordinary slot always is.

Clients choose slots, and each one makes every look at the room longer, for a look asks for all of
them. Honest clients use one to three."""

_NOWHERE = RoomId("")
_SENTENCE = Sentence("too_many_calls")
_SLOTS = Refuse(
    _SENTENCE,
    f"the room has {MOST_SLOTS} slots in use; only its ordinary call takes more people",
    {"slots": MOST_SLOTS},
)
_DEVICES = Refuse(
    _SENTENCE, "the user has had tokens for too many devices or page loads within an hour"
)


@frozen
class Excess:
    """A token for one slot or one identity too many: no honest client gets here."""

    room: RoomId
    user: Person
    refuse: Refuse


@frozen
class Introduced:
    """The holder of a token: who they are, and where it leads."""

    person: Person
    user: UserId | None
    """Where the request proved it."""
    binding: Binding | None
    """None for a LiveKit room that nobody knows."""
    excess: Excess | None = None
    """Set where a bound is passed: nothing was learnt then."""


@define(eq=False)
class Introductions:
    """Learns from each token, within bounds, which room and which user it is about."""

    directory: Directory
    now: Now
    quota: IdentityQuota = field(factory=IdentityQuota)

    def introduce(self, token: Token, asked: Asked | None) -> Introduced:
        """Find out whose a token is and where it leads."""
        known = self.directory.binding_of(token.livekit_room)
        if asked is None:
            return Introduced(self.directory.person(token.identity), None, known)
        claimed = binding_from(token.livekit_room, asked.request, asked.at_token_endpoint)
        user = user_from(token.identity, asked.request, asked.at_token_endpoint)
        excess = self._excess(token, known, claimed, user)
        if excess:
            person = self.directory.person(token.identity)
            return Introduced(person, None, known or claimed, excess)
        if claimed:
            known = self.directory.learn_room(token.livekit_room, claimed)
        if user and self.directory.user_of(token.identity) in (None, user):
            self.directory.learn_identity(token.identity, user, token.livekit_room)
        return Introduced(user or self.directory.person(token.identity), user, known)

    def confirm(self, token: Token, user: UserId) -> None:
        """Note that a user has got the token: an identity that was another's is theirs from now."""
        if self.directory.user_of(token.identity) != user:  # else `introduce` has learnt it
            self.directory.learn_identity(token.identity, user, token.livekit_room)

    def _excess(
        self, token: Token, known: Binding | None, claimed: Binding | None, user: UserId | None
    ) -> Excess | None:
        if claimed and not known and self._is_crowded(claimed):
            who = user or self.directory.person(token.identity)
            return Excess(claimed.room, who, _SLOTS)
        binding = known or claimed
        room = binding.room if binding else _NOWHERE
        if user and not self.quota.may(user, room, token.identity, self.now()):
            return Excess(room, user, _DEVICES)
        return None

    def _is_crowded(self, binding: Binding) -> bool:
        return (
            binding.slot not in USUAL_SLOTS
            and len(self.directory.livekit_rooms_of(binding.room)) >= MOST_SLOTS
        )
