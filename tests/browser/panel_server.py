"""The sandbox, a guard in front of it, and a client's page: `python -m tests.browser.panel_server`.

The port is the only argument. GET /where says where the guard and the homeserver are.
POST /control  {"rooms": [[room, creator]...], "members": [[room, user]...],
               "state": [[room, type, content, sender]...], "waits": [ms...],
               "ask": [[name, room]...], "join": [[name, room]...]}   gives the rooms' state
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from klein import Klein
from twisted.internet.defer import ensureDeferred
from twisted.web.server import Site
from twisted.web.static import File

from tests.calls import join
from tests.real.processes import REAL
from tests.world import World, reactor

HERE = Path(__file__).parent
FILES = {
    "host.html": (HERE / "host.html", "text/html; charset=utf-8"),
    "host.js": (HERE / "host.js", "text/javascript; charset=utf-8"),
    "call.js": (HERE / "call.js", "text/javascript; charset=utf-8"),
    "api.js": (REAL / "npm" / "matrix-widget-api" / "api.js", "text/javascript"),
}


class Served:
    """The client's page, and what a test may do to the sandbox."""

    app = Klein()

    def __init__(self) -> None:
        self.world = World(Path(tempfile.mkdtemp(prefix="panel-")))
        self.world.start_guard(LOTUS_GUARD_MEMBERS="on")

    @app.route("/where", methods=["GET"])
    def where(self, request: Any) -> bytes:
        addresses = self.world.sandbox.addresses
        return json.dumps({"guard": self.world.url, "homeserver": addresses.synapse}).encode()

    @app.route("/control", methods=["POST"])
    def control(self, request: Any) -> Any:
        return ensureDeferred(self._control(json.loads(request.content.read())))

    async def _control(self, wanted: Any) -> bytes:
        homeserver = self.world.sandbox.homeserver
        for room, creator in wanted.get("rooms", []):
            homeserver.add_room(room, creator)
        for room, user in wanted.get("members", []):
            homeserver.join(room, user)
        for room, kind, content, sender in wanted.get("state", []):
            homeserver.set_state(room, kind, content, sender=sender)
        homeserver.waits += wanted.get("waits", [])
        for name, room in wanted.get("join", []):
            await join(self.world, name, room)
        for name, room in wanted.get("ask", []):
            await self.world.ask(name, room)
        state = {
            room: {kind: event["content"] for (kind, key), event in events.items() if not key}
            for room, events in homeserver.rooms.items()
        }
        return json.dumps(state).encode()

    @app.route("/element-call/", branch=True)
    def element_call(self, request: Any) -> File:
        return File(str(REAL / "npm" / "element-call-embedded"))

    @app.route("/<name>", methods=["GET"])
    def file(self, request: Any, name: str) -> bytes:
        if name not in FILES:  # browsers ask for an icon
            request.setResponseCode(204)
            return b""
        path, kind = FILES[name]
        request.setHeader("Content-Type", kind)
        return path.read_bytes()


if __name__ == "__main__":
    reactor.listenTCP(int(sys.argv[1]), Site(Served().app.resource()), interface="127.0.0.1")
    reactor.run()
