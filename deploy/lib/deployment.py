"""The switch to another release, which ends in one that is known to be good.

What is under way is written down before it begins (`pending`), so that a deployer that was killed
in the middle, by a power cut too, is continued by the next one: the switch is repeated and probed,
or taken back. Every part may be done twice.
"""

import time
from collections.abc import Callable

from deploy.lib import files, probe, state
from deploy.lib.host import GUARD, Exit, Host, Trouble, say
from deploy.lib.releases import Pending, Releases
from deploy.lib.settings import Settings
from deploy.lib.steps import Walk
from deploy.lib.trial import check_offline, try_out
from deploy.lib.unit import Service, service_environment, unit_texts

ROLLBACK_SECONDS = 3.0
"""How long the release before is probed after a rollback, at most: it has run before."""

MOST_PROBES = 60
"""How often a service is probed: our requests for tokens name no client, and after 200 such ones
the guard warns of a proxy that names none."""


class Deployment:
    """Gates, switch and rollback on a host where the guard is in place."""

    def __init__(self, host: Host, settings: Settings, walk: Walk) -> None:
        self._host, self._settings, self._walk = host, settings, walk
        self._releases = Releases(host)

    def gates(self, revision: str) -> None:
        """Look at a finished release beside the running one; raises Trouble."""
        host, walk = self._host, self._walk
        release = self._releases.directory(revision)
        unit = files.read(release / "source/systemd" / GUARD)
        service = Service(service_environment(host, unit_texts(host, unit)))
        walk.step(
            "test: lotus-guard check --offline, with the service's environment",
            lambda: check_offline(host, release, service),
        )
        walk.step(
            "test: start on spare ports, probe every endpoint",
            lambda: try_out(host, release, service, self._settings.start_seconds),
        )

    def switch(self, revision: str) -> None:
        """Switch to a release that has passed the gates; raises Trouble once rolled back."""
        releases, walk = self._releases, self._walk
        before = releases.current
        assert before is not None, "there is a release to come back to"
        releases.pardon(revision)  # it was refused once, and somebody wants it all the same
        walk.step("back up the state and the unit", lambda: self._back_up(revision))
        walk.step(
            f"record the switch from {before} to {revision}",
            lambda: releases.begin(Pending(revision, before)),
        )
        walk.step(f"switch to {revision}", lambda: releases.point("current", revision))
        self._finish(Pending(revision, before))

    def settle(self) -> None:
        """Bring to its end what an earlier run has left half-done; raises Trouble as `switch`."""
        pending, releases = self._releases.pending, self._releases
        if pending is None:
            return
        say(f"an earlier run was interrupted while switching to {pending.revision}")
        why = releases.refused(pending.revision)
        if why is not None:
            self._roll_back(pending, why)
        elif releases.current == pending.revision:
            self._finish(pending)
        else:
            self._walk.step("it had not switched yet: discard that", releases.end)

    def _finish(self, pending: Pending) -> None:
        try:
            self._walk.step("bring the unit up to date", lambda: self._install_unit(pending))
            self._restart()
            self._walk.step("wait until it answers", self.wait)
            self._walk.step(
                f"probe it for {self._settings.probe_seconds:g} s",
                lambda: self.watch(self._settings.probe_seconds),
            )
        except Exception as why:  # whatever it is, the release before is known to run
            if not self._host.is_in_place:
                self._forget(pending)
            self._roll_back(pending, str(why))
        self._walk.step(
            f"previous: {pending.before}",
            lambda: self._releases.point("previous", pending.before),
        )
        self._walk.step(f"{pending.revision} is good", self._releases.end)

    def _forget(self, pending: Pending) -> None:
        """Leave a guard that was taken out meanwhile; always raises Trouble.

        That it does not answer says nothing of the release, but the one before is the proven one.
        """
        self._walk.step(
            f"back to {pending.before}", lambda: self._releases.point("current", pending.before)
        )
        self._walk.step("forget the switch", self._releases.end)
        text = "the guard was removed meanwhile (deploy/revert); nothing was started"
        raise Trouble(text, Exit.NOT_NOW)

    def _roll_back(self, pending: Pending, why: str) -> None:
        """Go back to the release before; always raises Trouble."""
        releases, step = self._releases, self._walk.step
        say(f"failed: {why}")
        self._try(
            f"record that {pending.revision} must not be tried again",
            lambda: releases.refuse(pending.revision, why),
        )
        step(f"back to {pending.before}", lambda: releases.point("current", pending.before))
        self._try("restore the unit", lambda: self._restore_unit(pending.revision))
        # systemd starts a crashed release again by itself: one that is still on its feet would
        # make the tables others once more, after they were put back.
        self._try(f"systemctl stop {GUARD}", lambda: self._host.systemctl("stop", GUARD))
        self._try(
            "restore the state, if its tables were changed",
            lambda: self._restore_state(pending.revision),
        )
        text = f"{pending.revision} was rolled back to {pending.before}: {why}"
        try:
            self._restart()
            step("wait until it answers", self.wait)
            seconds = min(ROLLBACK_SECONDS, self._settings.probe_seconds)
            step(f"probe it for {seconds:g} s", lambda: self.watch(seconds))
        except Trouble as another:
            text = f"{text}\nand {pending.before} is not working either: {another}"
            text += "\nLook at it now; deploy/revert removes the guard"
            raise Trouble(text, Exit.HELPLESS) from None
        step("forget the switch", releases.end)
        releases.remove(pending.revision)
        raise Trouble(text, Exit.ROLLED_BACK)

    def _try(self, text: str, work: Callable[[], object]) -> None:
        """Do what a rollback would rather have: a full disk must not keep it from its end."""

        def tolerant() -> None:
            try:
                work()
            except (OSError, Trouble) as why_not:
                say(f"  this could not be done: {why_not}")

        self._walk.step(text, tolerant)

    def _restart(self) -> None:
        step = self._walk.step
        step("systemctl daemon-reload", lambda: self._host.systemctl("daemon-reload"))
        step(f"systemctl restart {GUARD}", lambda: self._host.systemctl("restart", GUARD))

    def service(self) -> Service:
        """Return the service as it is installed."""
        return Service(service_environment(self._host))

    def wait(self) -> None:
        """Wait until the service answers as it should; raises Trouble."""
        service = self.service()
        probe.wait_until("the guard", lambda: probe.fault(service), self._settings.start_seconds)

    def watch(self, seconds: float) -> None:
        """Probe the service for so long; raises Trouble at the first thing that is wrong."""
        service, process = self.service(), self._process()
        end, pause = time.monotonic() + seconds, max(probe.PAUSE, seconds / MOST_PROBES)
        wrong = self._token_fault(service)
        while not wrong and time.monotonic() < end:
            wrong = probe.fault(service)
            now = self._process()
            if now != process:
                wrong = f"the service did not stay up: it was {process}, now it is {now}. {wrong}"
            time.sleep(pause)
        wrong = wrong or self._token_fault(service)
        if wrong:
            raise Trouble(wrong)

    def _token_fault(self, service: Service) -> str:
        token = self._settings.user_token
        return probe.token_fault(service, token) if token else ""

    def _process(self) -> str:
        """Name the running process: one that is started anew between two probes is not well."""
        found = self._host.systemctl("show", "--property=MainPID,NRestarts", GUARD)
        return ", ".join(sorted(found.split()))

    def _back_up(self, revision: str) -> None:
        directory = self._releases.backup(revision)
        files.make_directory(directory, 0o700)
        for left in directory.iterdir():
            left.unlink()
        path = self.service().state_file(self._host.state)
        if path:
            state.copy(path, directory / "state.sqlite")
        unit = files.read(self._host.units / GUARD)
        if unit is not None:
            files.write(directory / GUARD, unit)

    def _install_unit(self, pending: Pending) -> None:
        unit = files.read(self._releases.directory(pending.revision) / "source/systemd" / GUARD)
        self._put_unit(unit)

    def _restore_unit(self, revision: str) -> None:
        self._put_unit(files.read(self._releases.backup(revision) / GUARD))

    def _put_unit(self, unit: bytes | None) -> None:
        if unit is not None and unit != files.read(self._host.units / GUARD):
            files.write(self._host.units / GUARD, unit)

    def _restore_state(self, revision: str) -> None:
        """Put the tables back that the release before knows, should they have been changed.

        Otherwise the newer state is the better one.
        """
        kept = self._releases.backup(revision) / "state.sqlite"
        path = self.service().state_file(self._host.state)
        if path and kept.is_file() and state.schema(kept) != state.schema(path):
            say("  the failed release changed the tables: restoring the backup")
            state.put_back(kept, path)
