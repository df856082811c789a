"""Giving back under any interleaving, through the real engine on the sandbox's LiveKit.

Two participants, one of whom somebody else interferes with; a policy that changes, rejoins,
restarts of the guard and answers of LiveKit's that are lost.
"""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from twisted.internet.defer import ensureDeferred

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.claim import Claim, alike
from lotus_guard.core.claim_json import read_claim, write_claim
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Attendance, Grant, Identity, LiveKitRoom, RoomId, Source, UserId
from lotus_guard.core.narrow import EVERY_SOURCE
from lotus_guard.core.token import KeyPair, mint, open_token, restrain, sign
from lotus_guard.enforce.claims import Claims, Key, LocalClaims
from lotus_guard.enforce.effects import Effects, Removals
from lotus_guard.enforce.giving import Giving, Hands
from lotus_guard.enforce.issuing import Pass
from lotus_guard.enforce.live import Only
from lotus_guard.enforce.policies import Known
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.presence import Seen
from lotus_guard.enforce.room_pass import RoomPass
from lotus_guard.enforce.room_rules import RoomRule, RoomRules
from lotus_guard.neighbours.livekit_participant import permission_with, read_participant
from lotus_guard.rules.media import Media, SourcePolicy
from lotus_guard.sandbox.livekit_state import LiveKitState
from tests.enforce.stand_ins import Records, Turn, result
from tests.grants import allows

ROOM, CALL = RoomId("!r:s"), LiveKitRoom("call")
KEYS = KeyPair("key", "a-secret-of-32-characters-or-more")
PEOPLE = (Identity("@a:s:D"), Identity("@b:s:D"))
POLICIES = st.sampled_from([frozenset(), {Source.CAMERA}, {Source.CAMERA, Source.SCREEN_SHARE}])
THEIRS = ("microphone", "screen_share_audio")
"""What somebody else leaves; with the strictest of the policies we leave the same."""
FATES = st.sampled_from(["done", "done", "lost on the way", "answer lost"])


@define(eq=False)
class LiveKit:
    """The sandbox's LiveKit as the guard sees it; what it is told may be lost."""

    state: LiveKitState
    fates: list[str] = field(factory=list)

    def info(self, identity: Identity) -> Any:
        return self.state.rooms[CALL].get(identity)

    def attendance(self, at: float) -> Attendance:
        found = (read_participant(info) for info in self.state.rooms[CALL].values())
        return Attendance(at, tuple(each for each in found if each is not None))

    async def participant(self, _room: Any, identity: Identity, _allowance: Any) -> Any:
        info = self.info(identity)
        return read_participant(info) if info else None

    async def permit(self, livekit_room: LiveKitRoom, participant: Any, grant: Grant) -> None:
        fate = self.fates.pop() if self.fates else "done"
        if fate != "lost on the way":
            permission = permission_with(participant, grant)
            self.state.permit(livekit_room, participant.identity, permission)
        if fate != "done":
            raise Outage(Reason.TIMEOUT, fate)


@define(eq=False)
class Engine:
    """The live loop's work on one room, with all that it asks."""

    livekit: LiveKit
    now: Callable[[], float]
    written: dict[Key, str]
    """What is on disk."""
    policy: SourcePolicy = field(factory=SourcePolicy)
    is_certain: bool = True
    giving: Giving = field(init=False)
    room_pass: RoomPass = field(init=False)

    def __attrs_post_init__(self) -> None:
        here: Any = self
        service: Any = self.livekit
        directory = Directory()
        directory.learn_room(CALL, Binding(ROOM, "slot", Evidence.BELIEF))
        for identity in PEOPLE:
            directory.learn_identity(identity, UserId(identity.rpartition(":")[0]), CALL)
        claims = Claims()
        for key, text in self.written.items():
            claims.put(key, read_claim(text).awaited(self.now()))
        self.giving = Giving(LocalClaims(claims, self.write), directory, service, self.now)
        removals: Any = Removals(service, here, here, self.now, self.now)
        hands = Hands(service, self.giving)
        effects = Effects(hands, removals, here, directory, Only(), here, Records(), self.now)
        self.room_pass = RoomPass(here, here, directory, here, effects, here, self.now, frozenset())

    def write(self, key: Key, claim: Claim) -> None:
        self.written[key] = write_claim(claim)

    def run(self) -> None:
        result(ensureDeferred(self.room_pass.enforce(ROOM, Turn())))

    async def read(self, _room: RoomId, _turn: Any) -> RoomRules:
        return RoomRules([RoomRule(Media(), Known(self.policy, self.is_certain))])

    @property
    def policies(self) -> Any:
        return self

    def changes(self, _room: RoomId) -> Sequence[float]:
        return ()

    async def look(self, _room: RoomId, _not_before: float, in_background: bool = False) -> Seen:
        return Seen(self.now(), (CALL,), {CALL: self.livekit.attendance(self.now())})

    async def free(self, *_: Any) -> None: ...

    async def lift(self, *_: Any) -> None: ...

    def saw_partly(self, *_: Any) -> None: ...

    def put_off(self, *_: Any) -> None: ...

    def stepped(self, *_: Any, **__: Any) -> None: ...

    def confirmed(self, *_: Any) -> None: ...

    def unconfirmed(self, *_: Any) -> None: ...


class GivingBack(RuleBasedStateMachine):
    """One call, its people, its policy, and everything that can happen in between."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_790_000_000.0
        self.ids = 0
        state = LiveKitState(KEYS.key, KEYS.secret, lambda: self.now, self.new_id)
        state.create(CALL)
        self.livekit = LiveKit(state)
        self.forbidden: frozenset[Source] = frozenset()
        self.engine = Engine(self.livekit, lambda: self.now, {})
        self.drawer: dict[Identity, list[str]] = {identity: [] for identity in PEOPLE}
        self.taken: dict[str, set[str]] = {}
        """What somebody else took from each session since."""
        self.interfered: set[Identity] = set()

    def new_id(self) -> str:
        self.ids += 1
        return str(self.ids)

    def holds(self, identity: Identity) -> set[str]:
        info = self.livekit.info(identity)
        participant = read_participant(info)
        assert participant is not None
        return {name for name in EVERY_SOURCE if allows(participant.grant, name)}

    @rule(identity=st.sampled_from(PEOPLE), joins=st.booleans(), moment=st.sampled_from([0.0, 9.0]))
    def ask(self, identity: Identity, joins: bool, moment: float) -> None:
        """Get a token, and come in with it at once or later."""
        self.now += 1.0 + moment
        video = {"room": CALL, "roomJoin": True, "canPublish": True}
        upstream = mint(
            KEYS, sub=identity, nbf=int(self.now), exp=int(self.now) + 3600, video=video
        )
        token = open_token(upstream, [KEYS])
        sent = restrain(token, self.forbidden, 0, self.now)
        self.engine.giving.issued(token, Pass() if sent is token else Pass("x", sent=sent))
        self.drawer[identity].append(sign(sent))
        if joins:
            self.livekit.state.join(self.drawer[identity][-1])

    @rule(identity=st.sampled_from(PEOPLE), data=st.data())
    def come_with_an_old_token(self, identity: Identity, data: st.DataObject) -> None:
        if self.drawer[identity]:
            self.livekit.state.join(data.draw(st.sampled_from(self.drawer[identity])))

    @rule(identity=st.sampled_from(PEOPLE))
    def leave(self, identity: Identity) -> None:
        if self.livekit.info(identity):
            self.livekit.state.leave(CALL, identity)

    @rule(forbidden=POLICIES)
    def change_policy(self, forbidden: frozenset[Source]) -> None:
        self.forbidden = frozenset(forbidden)
        self.engine.policy = SourcePolicy(self.forbidden)

    @rule(is_certain=st.booleans())
    def homeserver(self, is_certain: bool) -> None:
        """The homeserver goes away, or is back."""
        self.engine.is_certain = is_certain

    @precondition(lambda self: self.livekit.info(PEOPLE[0]))
    @rule()
    def others_mute_the_screen(self) -> None:
        """Somebody else leaves the microphone and the screen's sound, which no policy does."""
        info = self.livekit.info(PEOPLE[0])
        before = self.holds(PEOPLE[0])
        participant: Any = read_participant(info)
        theirs = permission_with(participant, Grant(True, THEIRS))
        if theirs.can_publish_sources == info.permission.can_publish_sources:
            return
        if self.looks_as_ours(info.sid):
            return
        self.livekit.state.permit(CALL, PEOPLE[0], theirs)
        self.taken.setdefault(info.sid, set()).update(before - self.holds(PEOPLE[0]))
        self.interfered.add(PEOPLE[0])
        self.livekit.fates.clear()
        self.look([])

    def looks_as_ours(self, sid: str) -> bool:
        """Whether nobody could tell it from what the session came with, or what we have sent."""
        claim = self.engine.giving.store.claims.get((CALL, PEOPLE[0]))
        if claim is None or claim.is_over:
            return False
        ours = {*claim.under_way}
        if claim.session is None or claim.session.sid != sid:
            ours |= {each.grant for each in claim.carried}
        else:
            ours.add(claim.session.held)
        return alike(Grant(True, THEIRS)) in ours

    @rule(fates=st.lists(FATES, max_size=2))
    def look(self, fates: list[str]) -> None:
        self.now += 2.0
        self.livekit.fates = fates
        before = {
            identity: self.holds(identity) for identity in PEOPLE if self.livekit.info(identity)
        }
        self.engine.run()
        for identity, held in before.items():
            added = self.holds(identity) - held
            sid = self.livekit.info(identity).sid
            assert not added & self.forbidden
            assert not added & self.taken.get(sid, set()), "somebody else took it"
            assert self.engine.is_certain or not added, "a policy that is not certain gives nothing"

    @rule()
    def restart(self) -> None:
        """The guard is killed, and starts again from what is on disk."""
        before = self.engine
        self.engine = Engine(self.livekit, lambda: self.now, dict(before.written))
        self.engine.policy, self.engine.is_certain = before.policy, before.is_certain

    @rule()
    def all_is_quiet(self) -> None:
        self.engine.is_certain = True
        for _ in range(4):
            self.look([])
        for identity in PEOPLE:
            if self.livekit.info(identity):
                may = {name for name in EVERY_SOURCE if name not in self.forbidden}
                assert self.holds(identity) <= may
                if identity not in self.interfered:
                    assert self.holds(identity) == may, "nobody has to join anew"


GivingBack.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_giving_back_through_the_engine = GivingBack.TestCase
