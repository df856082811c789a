"""The embedded sandbox: a homeserver, an SFU and an authorization service with three rooms."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.web.iweb import IAgent
from twisted.web.resource import IResource

from lotus_guard.core.homeserver_wire import CLIENT_PATHS
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
        for room in (OPEN, *(_room_of(rule) for rule in self.rules)):
            self.homeserver.add_room(room, "@admin:sandbox")
            for name in PEOPLE:
                self.homeserver.join(room, f"@{name}:sandbox")
        for rule in self.rules:
            self.homeserver.set_state(_room_of(rule), rule.event, dict(rule.trial.content))


def _room_of(rule: Rule[Any]) -> str:
    return f"!{rule.trial.room}:sandbox"


def _words_of(rule: Rule[Any]) -> str:
    return ", ".join(rule.show(rule.read(rule.trial.content).policy).words)


def _by_homeserver(addresses: Addresses) -> str:
    """The line that asks for a token by the homeserver."""
    sent = {
        "url": addresses.livekit.replace("http://", "ws://"),
        "room_id": OPEN,
        "slot_id": "m.call#ROOM",
        "member_id": "one",
    }
    ask = f"curl -s -H 'Authorization: Bearer alice' {addresses.synapse}{CLIENT_PATHS[1]} -d"
    return f"{ask} '{json.dumps(sent)}'"


def welcome(guard: str, operators: str | None, addresses: Addresses, rules: Rules = RULES) -> str:
    """What runs, with lines to paste; `operators` is the URL of the operators' port, if any."""
    status = f"What it does shows live at {operators}/ in a browser.\n" if operators else ""
    ask = f"curl -s {guard}/sfu/get -d"

    def body(room: str, name: str) -> str:
        openid = f'"access_token":"openid-{name}","matrix_server_name":"sandbox"'
        return f"""'{{"room":"{room}","device_id":"PHONE","openid_token":{{{openid}}}}}'"""

    decode = (
        "python3 -c 'import base64,json,sys; "
        'print(base64.b64decode(json.load(sys.stdin)["jwt"].split(".")[1]+"==").decode())\''
    )
    rooms = ", ".join([f"{OPEN} (no policy)", *(f"{_room_of(r)} ({_words_of(r)})" for r in rules)])
    trials = ""
    for rule in rules:
        trials += f"\n{rule.trial.text}\n"
        after = f" | {decode}" if rule.trial.is_grant_shown else ""
        trials += "\n".join(f"  {ask} {body(_room_of(rule), n)}{after}" for n in rule.trial.askers)
    twice = '\'{"room":"!two:sandbox","room":"!open:sandbox"}\''
    return f"""
The guard is at {guard}, in front of a sandbox: nothing here is real, and nobody joins.
{status}  lk-jwt-service {addresses.authorization}
  LiveKit        {addresses.livekit}
  Synapse        {addresses.synapse}
Rooms: {rooms}.
The panel sets a room's rules, in a browser: {guard}/panel/
  homeserver {addresses.synapse}, access token {ADMIN_TOKEN}, room {_room_of(rules[0])}

An open room: the token comes back as lk-jwt-service made it.
  {ask} {body(OPEN, "alice")}{trials}
A body that two readers could read differently: 400.
  {ask} {twice}
The open room by the homeserver, which hands the request on (MSC4195).
  {_by_homeserver(addresses)}

Ctrl-C ends it.
"""
