"""The panel in a browser: the sandbox behind it, as a widget of a client's or on its own."""

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page

from tests.browser.watching import EYES
from tests.real.processes import REAL, ROOT, Process, free_port, http

LIMIT, QUALITY, LEVELS = "io.lotus.voice_limit", "io.lotus.room_quality", "m.room.power_levels"
AXE = REAL / "npm" / "axe-core" / "axe.min.js"
WIDGET_API = REAL / "npm" / "matrix-widget-api" / "api.js"
POWER = {"users": {"@alice:sandbox": 100, "@bob:sandbox": 50}, "users_default": 0}
PEOPLE = ("alice", "bob", "carol")
ELEMENT_CALL = REAL / "npm" / "element-call-embedded" / "index.html"
_numbers = itertools.count(1)


def demand(*files: Path) -> None:
    """Skip where the packages of npm are not there, or fail where they must be."""
    if not all(file.exists() for file in files):
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail("the packages of npm are not there: run `make test`")
        pytest.skip("the packages of npm are not there: run `make test`")


@define(eq=False)
class Town:
    """The sandbox, a guard, and a Matrix client's page, as a process."""

    directory: Path
    process: Process = field(init=False)
    guard: str = ""
    homeserver: str = ""

    def __attrs_post_init__(self) -> None:
        port = free_port()
        command = [sys.executable, "-m", "tests.browser.panel_server", str(port)]
        self.process = Process("town", command, self.directory, port, {"PYTHONPATH": str(ROOT)})
        self.process.start()
        where = http("GET", self.url + "/where").json()
        self.guard, self.homeserver = where["guard"], where["homeserver"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    @property
    def panel(self) -> str:
        return f"{self.guard}/panel/"

    def control(self, **wanted: Any) -> Any:
        answer = http("POST", self.url + "/control", json.dumps(wanted).encode())
        assert answer.status == 200, self.process.text()[-2000:]
        return answer.json()

    def room(self, **more: Any) -> "Room":
        """Make a room of admin's with alice (100), bob (50) and carol (0) in it."""
        room = Room(self, f"!panel{next(_numbers)}:sandbox")
        self.control(
            rooms=[[room.id, "@admin:sandbox"]],
            members=[[room.id, f"@{name}:sandbox"] for name in PEOPLE],
            state=[[room.id, LEVELS, {**POWER, **more}, "@admin:sandbox"]],
        )
        return room


@define(eq=False)
class Room:
    """A room of the sandbox."""

    town: Town
    id: str

    def set(self, kind: str, content: object, by: str = "bob") -> None:
        self.town.control(state=[[self.id, kind, content, f"@{by}:sandbox"]])

    def state(self, kind: str) -> Any:
        return self.town.control()[self.id].get(kind)


@define(eq=False, slots=False)  # playwright sets an attribute on the owner of a handler
class Visit:
    """Opens the panel, and notes whatever it should not do."""

    browser: Browser
    town: Town
    faults: list[str] = field(factory=list)
    contexts: list[BrowserContext] = field(factory=list)

    def page(self, width: int = 1100, height: int = 900, **how: Any) -> Page:
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            timezone_id="UTC",
            **{"locale": "en-GB", **how},
        )
        self.contexts.append(context)
        context.add_init_script(EYES)
        page = context.new_page()
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", self._interrupted)
        return page

    def _interrupted(self, dialog: Any) -> None:
        self.faults.append("dialog")
        dialog.dismiss()

    def widget(
        self, room: Room, user: str = "alice", url: str = "", client: Any = None, **how: Any
    ) -> tuple[FrameLocator, Page]:
        """Open it as a widget of a user's client; gives the widget and the client."""
        language, theme = how.pop("language", "en"), how.pop("theme", "light")
        page = self.page(**how)
        page.goto(self.town.url + "/host.html")
        page.evaluate("how => Object.assign(client, how)", client or {})
        who = {
            "homeserver": self.town.homeserver,
            "token": user,
            "user": f"@{user}:sandbox",
            "room": room.id,
            "language": language,
        }
        page.evaluate("a => openWidget(...a)", [url or self.town.panel, who, theme])
        return page.frame_locator("#widget"), page

    def call(
        self, page: Page, room: Room, guard: str = "", language: str = "en", user: str = "carol"
    ) -> FrameLocator:
        """Join a room's call in Element Call, as a widget of a user's client."""
        page.goto(self.town.url + "/host.html")
        who = {
            "homeserver": self.town.homeserver,
            "guard": guard or self.town.guard,
            "token": user,
            "user": f"@{user}:sandbox",
            "people": [f"@{name}:sandbox" for name in PEOPLE],
            "room": room.id,
            "name": "Kitchen",
            "language": language,
            "theme": "light",
        }
        page.evaluate("who => openCall(who)", who)
        return page.frame_locator("#widget")

    def alone(self, room: Room | str, user: str = "alice", **how: Any) -> Page:
        """Open it on its own, and fill in whose token for which room."""
        page = self.page(**how)
        self.fill_in(page, room, user)
        return page

    def fill_in(self, page: Page, room: Room | str, user: str = "alice") -> None:
        """Open it on its own, on this page."""
        page.goto(self.town.panel)
        page.locator("#alone").wait_for()
        page.fill("#homeserver", self.town.homeserver)
        page.fill("#token", user)
        page.fill("#room-id", room if isinstance(room, str) else room.id)
        page.click("#alone button")

    def leave(self) -> None:
        for context in self.contexts:
            for page in context.pages:
                for frame in page.frames:
                    self.faults += frame.evaluate("window.violations ?? []")
            context.close()


def findings(page: Page) -> list[str]:
    """What axe-core finds wrong with a page."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")
    assert len(found["passes"]) > 15
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found["violations"]]
