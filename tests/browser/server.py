"""The status page over a state that a test sets: `python -m tests.browser.server PORT`.

POST /control  {"rooms": [...], "decisions": [...], "dependencies": [...], "guard": {...},
               "hour": [...], "busy": true, "storm": 50}  whatever is not named stays; busy: every
               room changes at each look; storm: so many decisions are new at each look
"""

import copy
import json
import sys
import time
from typing import Any

from klein import Klein
from twisted.internet import reactor as _reactor
from twisted.web.server import Site

from lotus_guard.web.status.pages import NAMES, Pages
from lotus_guard.web.status.stream import Stream
from tests.browser.state import decision

reactor: Any = _reactor


class Served:
    """The page, and what it shows."""

    app = Klein()

    def __init__(self) -> None:
        self.state: dict[str, Any] = {
            "guard": {"instance": "k3v9t2xq", "pid": 1, "started": time.time(), "rules": {}},
            "dependencies": [],
            "rooms": [],
            "decisions": [],
            "hour": [],
        }
        self.looks = 0
        self.pages = Pages(Stream(self.snapshot, reactor, time.time))

    def snapshot(self) -> dict[str, Any]:
        self.looks += 1
        state = copy.deepcopy(self.state)
        storm = state.pop("storm", 0)
        if storm:
            state["decisions"] = [*self.storm(storm), *state["decisions"]]
        if state.pop("busy", False):
            for room in state["rooms"]:
                room["people"] += self.looks % 7
                room["refused"] += self.looks
                if room["max_users"]:
                    room["taken"] = self.looks % (room["max_users"] + 1)
        return state

    def storm(self, number: int) -> list[dict[str, Any]]:
        """So many refusals, newest first, by turns in twenty rooms."""
        ids = range(number * (self.looks + 1), number * self.looks, -1)
        return [
            decision(0, id=f"s{n:07}", room=f"!{n % 20:04}:example.org", user=f"@u{n}:example.org")
            for n in ids
        ]

    @app.route("/", methods=["GET"])
    @app.route(f"/status/<any{NAMES}:name>", methods=["GET"])
    def status(self, request: Any, name: str = "page.html") -> Any:
        return self.pages.serve(request, name)

    @app.route("/control", methods=["POST"])
    def control(self, request: Any) -> bytes:
        self.state.update(json.loads(request.content.read()))
        return b""


if __name__ == "__main__":
    reactor.listenTCP(int(sys.argv[1]), Site(Served().app.resource()), interface="127.0.0.1")
    reactor.run()
