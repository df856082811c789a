"""Bringing the homeserver's way over to the guard, without a moment in which it leads nowhere.

Synapse reads a registration only when it starts, and no deployer restarts Synapse. Before
lk-jwt-service moves, the guard takes the homeserver's port, the registration leads there, and the
command ends until Synapse has been restarted. Where the guard is in place already, the registration
changes last: both ways work until Synapse comes over.
"""

from collections.abc import Callable
from pathlib import Path

from deploy.lib import files, probe
from deploy.lib.homeserver import RESTART, Door, led_astray
from deploy.lib.host import GUARD, HOMESERVER_SOCKET, WAITING, Exit, Host, Trouble, neutral, say
from deploy.lib.settings import Settings
from deploy.lib.steps import Walk
from deploy.lib.unit import Service

NOW = "--move-now"


class Crossing:
    """The steps of one run of `deploy/install` that are about the homeserver."""

    def __init__(
        self, host: Host, walk: Walk, settings: Settings, door: Callable[[], Door], now: bool
    ) -> None:
        self._host, self._walk, self._settings = host, walk, settings
        self._door, self._now = door, now
        self._is_told = self._is_astray = False
        self.would_end = False
        """Whether this is a dry run of one that ends before the move, as Synapse is to be told."""

    def needs_a_restart(self) -> bool:
        """Return whether the guard, in place, has its port for the homeserver still to open."""
        door = self._door()
        return door.is_wanted and bool(probe.silence(door.url))

    def before_the_move(self, release: Path, texts: list[str]) -> None:
        """Go on only where Synapse hands on to the guard; else raises Trouble and keeps all."""
        door, walk = self._door(), self._walk
        if not door.is_wanted:
            return
        waited = self._host.waits
        undo = None if waited else self._stop
        walk.step(
            f"start the guard on the homeserver's port only: {door.url}",
            lambda: self._start(door, texts),
            undo,
            "stop it",
        )
        walk.step("wait until it answers there", lambda: self._wait(door))
        self.would_end = self._lead(door) and walk.dry and not self._now
        found: list[str] = []
        walk.step(
            "ask Synapse whether it forwards token requests to the guard",
            lambda: found.append(self._astray(release, door.service)),
        )
        if walk.dry:
            self._say_how_it_ends(door)
        self._is_astray = any(found)
        if self._is_astray and not self._now:
            walk.keep()
            wanted = f"{door.by_hand}; then {RESTART}" if door.by_hand else RESTART
            raise Trouble(
                f"lk-jwt-service stays where it is for now: {found[0]}\nFix: {wanted}, and run "
                f"this again. Until then everybody gets tokens as before. ({NOW} moves it at once: "
                "then nobody gets a token through Synapse until Synapse has been restarted.)",
                Exit.NOT_NOW,
            )

    def _say_how_it_ends(self, door: Door) -> None:
        """Say of a dry run what only Synapse could tell."""
        self._is_told = True
        if door.by_hand:
            say(f"note: {door.by_hand}; then {RESTART}")
        if not self._now:
            say("would: stop here with exit code 4 unless Synapse already forwards to the guard")

    def after_the_move(self) -> None:
        """Let the registration lead to the guard, which is in place."""
        door = self._door()
        if (self._host.units / WAITING).exists():
            self._walk.step("let the guard serve all its ports", self._forget)
        if not door.is_wanted or self._is_told:
            return
        if door.by_hand:
            say(f"note: {door.by_hand}; then {RESTART}")
        elif self._lead(door) or self._is_astray:
            would = "would: " if self._walk.dry else ""
            say(f"{would}now {RESTART}: until then, what it forwards bypasses the guard or fails")

    def environment(self, service: Service) -> dict[str, str]:
        """The environment of a `lotus-guard check`, which may ask as a user."""
        env = {**neutral(), **service.environment, "STATE_DIRECTORY": str(self._host.state)}
        token = self._settings.user_token
        return {**env, "CHECK_USER_TOKEN": token} if token else env

    def _lead(self, door: Door) -> bool:
        """Change the registration, if we can; tells whether that was to be done."""
        if door.by_hand:
            return False
        if door.is_led_here:
            if not door.is_recorded:  # by the operator, who may rely on deploy/revert all the same
                text = "record what deploy/revert restores in the registration"
                self._walk.step(text, door.write_record, door.forget_record, "forget it")
            return False
        text = f"{door.path}: token requests are forwarded to {door.url}"
        self._walk.step(text, door.lead_here, door.lead_back, "restore the registration")
        return True

    def _start(self, door: Door, texts: list[str]) -> None:
        path, text = self._host.units / WAITING, door.waits(texts)
        if files.read(path) != text.encode():
            files.write(path, text)
        self._host.systemctl("daemon-reload")
        self._host.systemctl("restart", GUARD)

    def _stop(self) -> None:
        files.remove(self._host.units / WAITING)
        self._host.systemctl("stop", HOMESERVER_SOCKET, GUARD)
        self._host.systemctl("daemon-reload")

    def _forget(self) -> None:
        files.remove(self._host.units / WAITING)
        self._host.systemctl("daemon-reload")

    def _wait(self, door: Door) -> None:
        probe.wait_until("the guard", lambda: probe.silence(door.url), self._settings.start_seconds)

    def _astray(self, release: Path, service: Service) -> str:
        return led_astray(release, self.environment(service))
