"""How the authorization service asks the others: a homeserver for a user, the SFU for a room."""

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import treq
from treq.client import HTTPClient
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from lotus_guard.core.homeserver_wire import FEDERATION_PATHS
from lotus_guard.core.token import KeyPair, mint
from lotus_guard.neighbours.bodies import BytesBody
from lotus_guard.sandbox.authorization_state import AskServer, CreateRoom, IsJoined, UserInfo
from lotus_guard.sandbox.synapse_state import HandedOn, HandOn


def userinfo_over(agent: IAgent, base: Callable[[str], str]) -> UserInfo:
    """Make what asks a homeserver, at the address that `base` returns for its name."""
    client = HTTPClient(agent)

    async def userinfo(server: str, token: str) -> str:
        path = "/_matrix/federation/v1/openid/userinfo?access_token="
        response = await client.get(f"{base(server)}{path}{quote(token, safe='')}")
        answer = await response.json()
        return str(answer["sub"])

    return userinfo


def joined_over(agent: IAgent, base: str, as_token: str) -> IsJoined:
    """Make what asks our homeserver, as an application service, who is in a room (MSC4502)."""
    client = HTTPClient(agent)

    async def is_joined(room: str, who: str) -> bool:
        name = "mxid" if who.startswith("@") else "server_name"
        path = f"/_matrix/client/unstable/io.element.msc4502/rooms/{quote(room, safe='')}/is_joined"
        headers = Headers({"Authorization": [f"Bearer {as_token}"]})
        response = await client.get(f"{base}{path}?{name}={quote(who, safe='')}", headers=headers)
        if response.code != 200:
            raise RuntimeError(f"is_joined: {response.code}")
        answer = await response.json()
        return bool(answer["joined"])

    return is_joined


def ask_server_over(agent: IAgent, base: str, as_token: str) -> AskServer:
    """Make what has our homeserver ask another one, over federation (MSC4512)."""

    async def ask_server(server: str, fields: Mapping[str, str]) -> tuple[int, Any]:
        path = "/_matrix/client/unstable/io.element.msc4512/appservice/fed_proxy"
        wanted = {
            "destination": server,
            "method": "POST",
            "path": FEDERATION_PATHS[1],
            "body": dict(fields),
        }
        headers = Headers({"Authorization": [f"Bearer {as_token}"]})
        body = BytesBody(json.dumps(wanted).encode())
        url = f"{base}{path}".encode("ascii")
        answer = await treq.json_content(await agent.request(b"POST", url, headers, body))
        return int(answer["status"]), answer["content"]

    return ask_server


def hand_on_over(agent: IAgent) -> HandOn:
    """Make what hands a homeserver's requests on to an application service."""

    async def hand_on(
        method: bytes, url: bytes, headers: dict[bytes, bytes], body: bytes
    ) -> HandedOn:
        wanted = Headers({name: [value] for name, value in headers.items()})
        response = await agent.request(method, url, wanted, BytesBody(body))
        found = dict(response.headers.getAllRawHeaders())
        return HandedOn(response.code, found, await treq.content(response))

    return hand_on


def federation_base(server: str) -> str:
    """The federation address of a server name; without a port it is 8448 (no well-known)."""
    has_port = re.search(r":[0-9]{1,5}\Z", server)
    return f"https://{server}" if has_port else f"https://{server}:8448"


def room_maker(agent: IAgent, api: str, key: str, secret: str) -> CreateRoom:
    """Make what makes a room on the SFU."""

    async def create(name: str) -> None:
        exp = int(time.time()) + 60
        token = mint(KeyPair(key, secret), exp=exp, video={"roomCreate": True})
        wanted = {"name": name, "empty_timeout": 300, "departure_timeout": 20}
        response = await agent.request(
            b"POST",
            f"{api}/twirp/livekit.RoomService/CreateRoom".encode("ascii"),
            Headers({"Authorization": [f"Bearer {token}"], "Content-Type": ["application/json"]}),
            BytesBody(json.dumps(wanted).encode()),
        )
        body = await treq.content(response)
        if response.code != 200:
            raise RuntimeError(f"{response.code}: {body[:200]!r}")

    return create
