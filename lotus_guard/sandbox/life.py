"""Made-up people who come and go in rooms of their own, so that there is something to see.

They do what clients do: ask the guard for a token, join the sandbox's LiveKit with it, switch on a
camera or share a screen, leave. What they do is drawn from a seed. What they take is bounded: each
is one user with one device, in one call at most.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any

import treq
from attrs import define, field, frozen
from livekit.protocol import models as lk_models
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from lotus_guard.neighbours.bodies import BytesBody
from lotus_guard.sandbox.livekit_state import LiveKitState, NotAllowed, Source
from lotus_guard.sandbox.synapse_state import SynapseState

VISITORS = ("frida", "goran", "hanna", "ilias", "judith", "karim", "lena", "mateo")
STRANGER = "zoltan"
"""They are in no room, and try all the same."""
AskToken = Callable[[str, str], Awaitable[str | None]]
"""Asks for a token: a room and who wants in; returns None where it is refused."""
_SWITCHES = {
    "camera": (Source.CAMERA, lk_models.TrackType.VIDEO),
    "screen": (Source.SCREEN_SHARE, lk_models.TrackType.VIDEO),
}


@frozen
class Place:
    """A room that they meet in."""

    room: str
    name: str
    weight: int
    """How likely it is to be chosen, against the others'."""
    policies: Mapping[str, Mapping[str, object]] = {}
    """Contents of state events, by type."""


LIMIT, QUALITY = "io.lotus.voice_limit", "io.lotus.room_quality"
PLACES = (
    Place("!kitchen:sandbox", "Kitchen", 6, {LIMIT: {"max_users": 3}}),
    Place("!townhall:sandbox", "Town hall", 2, {QUALITY: {"max_cameras": 1}}),
    Place("!reading:sandbox", "Reading group", 2, {QUALITY: {"allow_screenshare": False}}),
    Place("!lounge:sandbox", "Lounge", 1),
)


def move_in(homeserver: SynapseState, places: Sequence[Place] = PLACES) -> None:
    """Make their accounts and rooms."""
    for name in (*VISITORS, STRANGER):
        homeserver.add_account(f"@{name}:sandbox", f"visitor-{name}")
        homeserver.openid[f"openid-{name}"] = f"@{name}:sandbox"
    for place in places:
        homeserver.add_room(place.room, "@admin:sandbox")
        homeserver.set_state(place.room, "m.room.name", {"name": place.name})
        for name in VISITORS:
            homeserver.join(place.room, f"@{name}:sandbox")
        for event, content in place.policies.items():
            homeserver.set_state(place.room, event, dict(content))


def token_asker(agent: IAgent, guard: str) -> AskToken:
    """Make what asks a guard for tokens, as a client does; it raises what HTTP raises."""
    url = f"{guard}/sfu/get".encode("ascii")

    async def ask(room: str, name: str) -> str | None:
        openid = {"access_token": f"openid-{name}", "matrix_server_name": "sandbox"}
        body = {"room": room, "device_id": "LAPTOP", "openid_token": openid}
        headers = Headers({"Content-Type": ["application/json"]})
        producer = BytesBody(json.dumps(body).encode())
        response = await agent.request(b"POST", url, headers, producer)
        answer = json.loads(await treq.content(response))
        return str(answer["jwt"]) if response.code == 200 else None

    return ask


@define(eq=False)
class Life:
    """What they are up to."""

    sfu: LiveKitState
    ask: AskToken
    random: Random
    places: Sequence[Place] = PLACES
    _calls: dict[str, tuple[str, str]] = field(init=False, factory=dict)
    """Who is in a call, as far as they know: the LiveKit room, and their identity there."""

    async def step(self) -> None:
        """Have one of them do one thing; raises whatever the guard's answer does."""
        is_stranger = self.random.random() < 0.05
        name = STRANGER if is_stranger else self.random.choice(VISITORS)
        room, identity = self._calls.get(name, ("", ""))
        if identity not in self.sfu.rooms.get(room, {}):  # never joined, or put out
            await self._arrive(name)
        elif self.random.random() < 0.4:
            self.sfu.leave(room, identity)
        else:
            self._switch(room, identity, *_SWITCHES[self.random.choice(sorted(_SWITCHES))])

    async def _arrive(self, name: str) -> None:
        (place,) = self.random.choices(self.places, [each.weight for each in self.places])
        token = await self.ask(place.room, name)
        if token is None:
            return
        try:
            info = self.sfu.join(token)
        except NotAllowed:  # the room has ended meanwhile
            return
        room = str(self.sfu.open_token(token)["video"]["room"])
        self._calls[name] = (room, info.identity)
        self._switch(room, info.identity, Source.MICROPHONE, lk_models.TrackType.AUDIO)

    def _switch(self, room: str, identity: str, source: Any, kind: Any) -> None:
        """Switch a source off where it is on, and on where it is off and allowed."""
        tracks = self.sfu.rooms[room][identity].tracks
        on = [track.sid for track in tracks if track.source == source]
        for sid in on:
            self.sfu.unpublish(room, identity, sid)
        if not on:
            try:
                self.sfu.publish(room, identity, source, kind)
            except NotAllowed:
                return
