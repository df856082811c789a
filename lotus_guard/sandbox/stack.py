"""The embedded sandbox: a homeserver, an SFU and an authorization service with three rooms."""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.web.iweb import IAgent
from twisted.web.resource import IResource

from lotus_guard.rules import RULES, Rules
from lotus_guard.rules.rule import Rule
from lotus_guard.sandbox.authorization import AuthorizationApp
from lotus_guard.sandbox.authorization_clients import (
    hand_on_over,
    joined_over,
    room_maker,
    userinfo_over,
)
from lotus_guard.sandbox.authorization_state import AppService, AuthorizationState, Issuer
from lotus_guard.sandbox.livekit import LiveKitApp
from lotus_guard.sandbox.livekit_state import LiveKitState
from lotus_guard.sandbox.synapse import SynapseApp
from lotus_guard.sandbox.synapse_state import Proxy, SynapseState

KEY = "sandbox"
SECRET = "the-sandbox-has-no-secrets-to-keep-0000"  # noqa: S105
ADMIN_TOKEN = "sandbox-admin"  # noqa: S105
HS_TOKEN, AS_TOKEN = "sandbox-hs-token", "sandbox-as-token"
SERVER = "sandbox"
OPEN, TWO, VOICE = "!open:sandbox", "!two:sandbox", "!voice:sandbox"
PEOPLE = ("alice", "bob", "carol", "dave", "erin")


@frozen
class Addresses:
    """Where the three listen."""

    authorization: str = "http://127.0.0.1:8171"
    livekit: str = "http://127.0.0.1:8172"
    synapse: str = "http://127.0.0.1:8173"


@define(eq=False)
class Sandbox:
    """The state of the three; nothing listens yet."""

    agent: IAgent
    """How the authorization service reaches the other two."""
    epoch: Callable[[], float]
    addresses: Addresses = field(factory=Addresses)
    rules: Rules = RULES
    homeserver: SynapseState = field(init=False)
    sfu: LiveKitState = field(init=False)
    authorization: AuthorizationState = field(init=False)
    _ids: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        where = self.addresses
        self.homeserver = SynapseState(self._new_id)
        self.sfu = LiveKitState(KEY, SECRET, self.epoch, self._new_id)
        public = where.livekit.replace("http://", "ws://")
        self.authorization = AuthorizationState(
            Issuer(KEY, SECRET, public, self.epoch),
            userinfo_over(self.agent, lambda _server: where.synapse),
            room_maker(self.agent, where.livekit, KEY, SECRET),
        )
        self.authorization.behind = AppService(
            HS_TOKEN, SERVER, joined_over(self.agent, where.synapse, AS_TOKEN)
        )
        self._furnish()

    def behind(self, url: str) -> None:
        """Have the homeserver hand requests for tokens on, to `url`: the guard's, or upstream's."""
        self.homeserver.proxy = Proxy(url, HS_TOKEN, AS_TOKEN, hand_on_over(self.agent))
        announced = self.authorization.issuer.livekit_url
        self.homeserver.transports = [{"type": "livekit", "url": announced}]

    def environment(self) -> dict[str, str]:
        """The variables of a guard in front of it."""
        where = self.addresses
        return {
            "LIVEKIT_URL": where.livekit.replace("http://", "ws://"),
            "LIVEKIT_KEY": KEY,
            "LIVEKIT_SECRET": SECRET,
            "LOTUS_GUARD_UPSTREAM": where.authorization,
            "LOTUS_GUARD_LIVEKIT_URL": where.livekit,
            "LOTUS_GUARD_SYNAPSE_URL": where.synapse,
            "LOTUS_GUARD_SYNAPSE_TOKEN": ADMIN_TOKEN,
            "LIVEKIT_HS_TOKEN": HS_TOKEN,
        }

    def resources(self) -> Mapping[str, IResource]:
        """What to serve, by its address."""
        where = self.addresses
        return {
            where.authorization: AuthorizationApp(self.authorization).resource(),
            where.livekit: LiveKitApp(self.sfu).app.resource(),
            where.synapse: SynapseApp(self.homeserver).app.resource(),
        }

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:08d}"

    def _furnish(self) -> None:
        self.homeserver.add_account("@admin:sandbox", ADMIN_TOKEN, admin=True)
        for name in PEOPLE:
            self.homeserver.add_account(f"@{name}:sandbox", name)
            self.homeserver.openid[f"openid-{name}"] = f"@{name}:sandbox"
        for room in (OPEN, *(room_of(rule) for rule in self.rules)):
            self.homeserver.add_room(room, "@admin:sandbox")
            for name in PEOPLE:
                self.homeserver.join(room, f"@{name}:sandbox")
        for rule in self.rules:
            self.homeserver.set_state(room_of(rule), rule.event, dict(rule.trial.content))


def room_of(rule: Rule[Any]) -> str:
    """The room in which to try a rule."""
    return f"!{rule.trial.room}:sandbox"
