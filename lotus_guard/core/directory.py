"""Which Matrix room a LiveKit room belongs to, and which user an identity is.

Both are learnt when a token is issued (`core.binding`). A LiveKit room stays bound to its Matrix
room from then on, so that nobody can talk a room's calls away from its policy later. Bounded in
entries and in bytes: the longest unused entry goes first, and whoever has written it down is told,
to delete it as well.
"""

from collections.abc import Callable, Collection, Iterable, Iterator

from attrs import define, field, frozen

from lotus_guard.core.archive import Archive
from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.identities import Identities
from lotus_guard.core.lru import LruDict, weight
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT, guess_legacy_user, livekit_room_of

MIB = 1024 * 1024
_PLAIN_COLONS = 2
"""In a legacy identity whose server's name has no port: `@user:server:device`."""


class DirectoryListener:
    """Told of what a directory learns and of what goes; this one does nothing with it."""

    def learnt_room(self, livekit_room: LiveKitRoom, binding: Binding) -> None:
        """Take note of where a LiveKit room belongs."""

    def learnt_identity(self, livekit_room: LiveKitRoom, identity: Identity, user: UserId) -> None:
        """Take note of whose an identity is, and where it was issued last."""

    def forgotten(self, livekit_room: LiveKitRoom) -> None:
        """Forget a LiveKit room that is of no use to anybody, with the identities learnt in it."""

    def dropped_room(self, livekit_room: LiveKitRoom) -> None:
        """Delete a LiveKit room that there is no room for here any more, and nothing else."""

    def dropped_identities(
        self, livekit_room: LiveKitRoom, identities: Collection[Identity]
    ) -> None:
        """Delete identities that there is no room for here any more."""


@frozen
class Bounds:
    """How much a directory keeps."""

    rooms: int = 100_000
    """LiveKit rooms."""
    identities: int = 200_000
    """Identities at hand, and once more of those in the archive."""
    bytes: int = 96 * MIB
    """Of the LiveKit rooms, and once more of the identities at hand."""
    archived_bytes: int = 64 * MIB
    """Of the identities in the archive."""


@define(eq=False)
class Directory:
    """The LiveKit rooms and identities that issued tokens have told us of."""

    now: Callable[[], float] = lambda: 0.0
    listener: DirectoryListener = field(factory=DirectoryListener)
    bounds: Bounds = Bounds()
    data_slots: tuple[str, ...] = ()
    """How the names of slots begin in which nobody talks: they share data, and take no seats."""
    _bindings: LruDict[LiveKitRoom, Binding] = field(init=False)
    _identities: Identities = field(init=False)
    _rooms: dict[RoomId, dict[LiveKitRoom, None]] = field(init=False, factory=dict)
    """The LiveKit rooms of each Matrix room."""
    _archive: Archive = field(init=False)
    """The identities of calls that are over."""

    def __attrs_post_init__(self) -> None:
        bounds = self.bounds
        self._bindings = LruDict(
            bounds.rooms,
            self._drop_room,
            bounds.bytes,
            lambda livekit_room, binding: weight(livekit_room, binding.room, binding.slot),
        )
        self._identities = Identities(
            bounds.identities, bounds.bytes, self.now, self._drop_identity
        )
        self._archive = Archive(bounds.identities, bounds.archived_bytes)

    # LiveKit rooms.

    def binding_of(self, livekit_room: LiveKitRoom) -> Binding | None:
        """Where a LiveKit room belongs; None where no token has told us."""
        self._unpack(livekit_room)
        return self._bindings.get(livekit_room)

    def livekit_rooms_of(self, room: RoomId) -> tuple[LiveKitRoom, ...]:
        """The LiveKit rooms of a Matrix room: those learnt, and the ordinary call's."""
        ordinary, learnt = livekit_room_of(room, ROOM_SLOT), self._rooms.get(room, {})
        for livekit_room in learnt:
            self._unpack(livekit_room)
        return tuple({ordinary: None} | learnt)

    def is_for_data(self, livekit_room: LiveKitRoom) -> bool:
        """Whether a LiveKit room is that of a slot in which nobody talks.

        Clients choose the names of slots. So only what its name proves counts, and whoever is there
        may publish no media where seats are counted.
        """
        binding = self._bindings.get(livekit_room) if self.data_slots else None
        return (
            binding is not None
            and binding.slot.startswith(self.data_slots)
            and binding.proves_slot(livekit_room)
        )

    def learn_room(self, livekit_room: LiveKitRoom, binding: Binding) -> Binding:
        """Bind a LiveKit room unless it is bound already; returns the binding that holds.

        A proof overrules a belief: no hash matches by accident.
        """
        known = self._bindings.get(livekit_room)
        if known and not (known.evidence is Evidence.BELIEF and binding.evidence is Evidence.PROOF):
            return known
        self._bind(livekit_room, binding, known)
        return binding

    def adopt(self, livekit_room: LiveKitRoom, binding: Binding) -> None:
        """Bind a LiveKit room as another guard has, who was told first; a proof of ours stays."""
        known = self._bindings.get(livekit_room)
        if known == binding or (known and known.evidence is Evidence.PROOF):
            return
        self._bind(livekit_room, binding, known)

    def _bind(self, livekit_room: LiveKitRoom, binding: Binding, before: Binding | None) -> None:
        if before:
            self._unlist(livekit_room, before)
        self._bindings.put(livekit_room, binding)
        self._rooms.setdefault(binding.room, {})[livekit_room] = None
        self.listener.learnt_room(livekit_room, binding)

    def forget(self, livekit_rooms: Collection[LiveKitRoom]) -> None:
        """Drop LiveKit rooms that are long finished, and the identities learnt there."""
        elsewhere: set[Identity] = set()
        for livekit_room in livekit_rooms:
            elsewhere.update(self._archive.take(livekit_room))
            elsewhere.update(self._identities.take_out(livekit_room))
            binding = self._bindings.pop(livekit_room)
            if binding:
                self._unlist(livekit_room, binding)
                self.listener.forgotten(livekit_room)
        self._tell_again(elsewhere)

    def bindings(self) -> Iterator[tuple[LiveKitRoom, Binding]]:
        """Everything that is known of LiveKit rooms."""
        return self._bindings.items()

    # Identities.

    def learn_identity(self, identity: Identity, user: UserId, livekit_room: LiveKitRoom) -> None:
        """Remember whose identity this is and where it was issued.

        One that was issued to two users belongs to neither from then on.
        """
        self._unpack(livekit_room)
        if self._identities.put(livekit_room, identity, user):
            known = self._identities.user_of(identity) or user
            self.listener.learnt_identity(livekit_room, identity, known)

    def user_of(self, identity: Identity) -> UserId | None:
        """Whose identity this is, where a token has told us; itself where it was two users'."""
        return self._identities.user_of(identity)

    def identities_of(
        self, livekit_room: LiveKitRoom, most: int, since: float = 0.0
    ) -> list[Identity]:
        """Whom tokens for a LiveKit room were issued to, at most so many, the newest first.

        None from before `since`: what was in the archive, or written down, counts from its return
        on.
        """
        self._unpack(livekit_room)
        return self._identities.newest(livekit_room, most, since)

    def was_issued(self, room: RoomId, user: UserId) -> bool:
        """Whether a token for a call of a room was issued to a user, and may be in use.

        What is in the archive is of calls that are over.
        """
        livekit_rooms = self._rooms.get(room, {})
        return any(self._identities.has_user(each, user) for each in livekit_rooms)

    def person(self, identity: Identity) -> str:
        """The person behind an identity, for counting heads.

        The user where we know or can read them, the identity itself where it is a hash of which no
        token has told us: that counts as a person of its own.
        """
        return self.user_of(identity) or guess_legacy_user(identity) or identity

    @property
    def changes(self) -> int:
        """How often `user_of` and `person` may have begun to say something else of anybody."""
        return self._identities.changes

    def proved_user(self, identity: Identity) -> UserId | None:
        """Whose an identity is beyond doubt, for what only they may do; None where there is any.

        Of one that no token has told us of, only what can be read in one way counts: a device id
        that looks like a port makes another user of it (`core.naming.guess_legacy_user`).
        """
        known = self.user_of(identity)
        if known is not None:
            is_two_users = str(known) == identity
            return None if is_two_users else known
        return guess_legacy_user(identity) if identity.count(":") == _PLAIN_COLONS else None

    def users(self) -> Iterator[tuple[Identity, tuple[UserId, LiveKitRoom]]]:
        """Everything that is known of identities."""
        for livekit_room, identity, user in self._identities.items():
            yield identity, (user, livekit_room)
        for livekit_room, users in self._archive.items():
            for identity, user in users.items():
                yield identity, (user, livekit_room)

    def archive(self, livekit_rooms: Collection[LiveKitRoom]) -> None:
        """Pack the identities learnt in these LiveKit rooms until somebody asks for the room."""
        for livekit_room in self._identities.livekit_rooms() & set(livekit_rooms):
            self._archive.add(livekit_room, self._identities.take_out(livekit_room))
        for livekit_room, gone in self._archive.shrink():
            self.listener.dropped_identities(livekit_room, gone)
            self._tell_again(gone)

    def _unpack(self, livekit_room: LiveKitRoom) -> None:
        """Take a LiveKit room's identities out of the archive: its call may begin again."""
        for identity, user in self._archive.take(livekit_room).items():
            # What has been learnt since is newer.
            self._identities.put(livekit_room, identity, user, is_newest=False)

    def _tell_again(self, identities: Iterable[Identity]) -> None:
        """Have written down where else these are known: the file has one place for each."""
        for identity in identities:
            user, home = self._identities.user_of(identity), self._identities.home_of(identity)
            if user is not None and home is not None:
                self.listener.learnt_identity(home, identity, user)

    def _drop_identity(self, livekit_room: LiveKitRoom, identity: Identity) -> None:
        self.listener.dropped_identities(livekit_room, [identity])
        self._tell_again([identity])

    def _drop_room(self, livekit_room: LiveKitRoom, binding: Binding) -> None:
        gone = list(self._archive.take(livekit_room))
        self._unlist(livekit_room, binding)
        self.listener.dropped_identities(livekit_room, gone)
        self.listener.dropped_room(livekit_room)
        self._tell_again(gone)

    def _unlist(self, livekit_room: LiveKitRoom, binding: Binding) -> None:
        livekit_rooms = self._rooms.get(binding.room, {})
        livekit_rooms.pop(livekit_room, None)
        if not livekit_rooms:
            self._rooms.pop(binding.room, None)
