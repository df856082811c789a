"""Laws of seats: users whose names begin alike never share one, in whatever order they come."""

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.naming import identity_of, legacy_identity_of
from lotus_guard.core.seats import Look, Seats

ROOM, CALL = RoomId("!r:s"), LiveKitRoom("call")
USERS = st.sampled_from(["@x:e", "@x:e:84"]).map(UserId)
DEVICES = st.sampled_from(["D", "84:D"])
DEEDS = st.sampled_from(["ask", "join", "enter", "enter", "leave", "hang up", "wait"])
WORDS = st.tuples(DEEDS, USERS, DEVICES, st.booleans())


@define
class Room:
    """A room's call, in which each connection remembers whose it really is."""

    limit: int
    now: float = 0.0
    knowledge: Directory = field(factory=Directory)
    seats: Seats = field(init=False)
    live: dict[Identity, UserId] = field(factory=dict)
    tokens: dict[Identity, UserId] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.seats = Seats(60.0, 10.0, self.knowledge)
        self.look()

    def look(self) -> None:
        self.now += 0.5
        self.seats.saw(ROOM, {CALL: Look(self.now, frozenset(self.live))})

    def do(self, deed: str, user: UserId, device: str, is_legacy: bool) -> None:
        name = legacy_identity_of(user, device) if is_legacy else identity_of(user, device, "m")
        if deed == "enter":
            self.do("ask", user, device, is_legacy)
            self.do("join", user, device, is_legacy)
        elif deed == "ask":
            self.look()
            self.knowledge.learn_identity(name, user, CALL)
            if self.seats.admit(ROOM, user, name, self.limit, self.now, self.now).admitted:
                self.tokens[name] = user
        elif deed == "join" and self.tokens.get(name) == user and self.has_seat(user):
            self.live[name] = user  # LiveKit ends the other connection of this name
        elif deed in ("leave", "hang up") and name in self.live:
            del self.live[name]
            self.look()
            if deed == "hang up":
                self.seats.hung_up(ROOM, name)
        elif deed == "wait":
            self.now += 30.0
        self.look()

    def has_seat(self, user: UserId) -> bool:
        return user in self.seats.taken(ROOM, self.now)


@settings(max_examples=300)
@given(st.lists(WORDS, max_size=12))
def test_users_whose_names_begin_alike_never_share_a_seat(
    words: list[tuple[str, UserId, str, bool]],
) -> None:
    room = Room(limit=1)
    for word in words:
        room.do(*word)
        assert len(set(room.live.values())) <= 1
