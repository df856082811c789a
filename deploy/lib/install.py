"""`deploy/install`: put the guard in front of lk-jwt-service, or leave everything as it was.

The drop-in that moves lk-jwt-service is the one switch: the guard's units start only where it is
there (ConditionPathExists). So a power cut in the middle leaves a host that boots with the token
endpoint on its port, either way.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from deploy.lib import answers, files, probe
from deploy.lib.build import build, demand_room
from deploy.lib.crossing import NOW, Crossing
from deploy.lib.deployment import Deployment
from deploy.lib.face import guarded, locked
from deploy.lib.homeserver import KNOWS, LISTENS, REGISTRATION, Door
from deploy.lib.host import (
    DEPLOYER,
    DROP_IN,
    GUARD,
    HOMESERVER_SOCKET,
    SOCKET,
    UPSTREAM,
    WAITING,
    Exit,
    Host,
    Trouble,
    run,
    say,
)
from deploy.lib.obstacles import refuse_a_bare_registration, refuse_a_second_way
from deploy.lib.ports import Ports
from deploy.lib.releases import Releases
from deploy.lib.settings import PREFIX, read_settings
from deploy.lib.source import own_source
from deploy.lib.steps import Walk
from deploy.lib.survey import (
    Neighbours,
    Survey,
    demand_known_names,
    demand_pip,
    demand_sound_values,
)
from deploy.lib.trial import BEFORE_THE_MOVE, NOT_THE_TRIALS, check_offline, check_online, try_out
from deploy.lib.unit import Service, directives, quoted, service_environment, unit_texts

CLEAR = "nothing is in the way; that was a dry run, and nothing was changed"
CONDITION = f"""# Written by deploy/install: only behind the drop-in is the public port the guard's.
[Unit]
ConditionPathExists=/etc/systemd/system/{DROP_IN}
"""
EITHER = f"""# Written by deploy/install: in place, or serving the homeserver alone until it is.
[Unit]
ConditionPathExists=|/etc/systemd/system/{DROP_IN}
ConditionPathExists=|/etc/systemd/system/{WAITING}
"""
CONDITIONS = {GUARD: EITHER, HOMESERVER_SOCKET: EITHER, SOCKET: CONDITION}
CONDITION_NAME = "in-place.conf"


class Install:
    """One run of the command."""

    def __init__(
        self,
        host: Host,
        tree: Path,
        environment: Mapping[str, str],
        walk: Walk,
        at_once: bool = False,
    ) -> None:
        self._host, self._tree, self._environment, self._walk = host, tree, environment, walk
        self._releases = Releases(host)
        self._settings = read_settings(host, environment)
        self._deployment = Deployment(host, self._settings, walk)
        unit = files.read(tree / "systemd" / GUARD)
        if unit is None:
            raise Trouble(f"{tree} has no systemd/{GUARD}; expected the whole tree", Exit.USAGE)
        self._unit = unit
        self._source, self._revision = own_source(tree), ""
        self._values: dict[str, str] = {}
        self._saved: dict[Path, bytes | None] = {}
        self._crossing = Crossing(host, walk, self._settings, self._door, at_once)

    @property
    def _texts(self) -> list[str]:
        """The unit that this tree has, and the drop-ins that are there by now."""
        return unit_texts(self._host, self._unit)

    def _door(self) -> Door:
        return Door(self._host, self._environment, self._service())

    def run(self, ask: bool) -> None:
        """Install, or bring an installation up to date; raises Trouble, with everything undone."""
        host, walk = self._host, self._walk
        self._look(ask)
        with walk:
            if not walk.dry:
                self._settle()
            self._prepare()
            revision = self._revision
            if self._is_to_be_built:
                build(host, self._source, revision, self._settings.free_mb, walk)
            if host.is_in_place and self._releases.current and self._is_well():
                self._update(revision)
            else:
                self._move(revision)
            self._crossing.after_the_move()
            walk.keep()
        self._link_command()
        self._set_up_timer()
        walk.step("run lotus-guard check, for your information", self._advise)
        if not walk.dry:
            say(f"the guard is in place: {self._service().public}")
        if self._crossing.would_end:
            text = (
                f"the first run would stop before the move, with exit code {Exit.NOT_NOW:d}, until "
            )
            raise Trouble(f"{text}Synapse has been restarted", Exit.NOT_NOW)
        if walk.dry:
            say(CLEAR)

    def _settle(self) -> None:
        """Come to terms with a deployment that was broken off."""
        if not self._host.is_in_place:
            self._releases.end()  # taken out meanwhile: there is nothing to switch
            return
        try:
            self._deployment.settle()
        except Trouble as trouble:
            if trouble.code is not Exit.ROLLED_BACK:
                raise
            say(f"{trouble}\ncontinuing with this tree")

    def _look(self, ask: bool) -> None:
        """Look at everything before anything is changed; raises Trouble with all that is wrong."""
        host, survey = self._host, Survey()
        if not self._walk.dry:
            survey.look(host.demand_systemctl)
        survey.look(lambda: refuse_a_second_way(host, self._releases))
        survey.look(lambda: refuse_a_bare_registration(host))
        survey.look(lambda: demand_pip(host))
        self._revision = survey.look(self._source_revision) or ""
        if self._is_to_be_built and self._revision:
            room = self._settings.free_mb
            survey.look(lambda: demand_room(self._releases, self._revision, room))
        self._look_at_settings(survey, ask)
        around = Neighbours(host, self._service(), self._door().url, Ports())
        survey.add(around.taken(survey.look(around.upstream)))
        survey.end()
        held = answers.held(host, self._texts)
        if ask:  # last: nobody is to look for a token for nothing
            self._values |= answers.ask_for(answers.missing(self._values, held))
            answers.demand(self._values, held)

    def _look_at_settings(self, survey: Survey, ask: bool) -> None:
        sample = (self._tree / "deploy/environment.sample").read_text(encoding="utf-8")
        known, held = answers.known_names(sample), answers.held(self._host, self._texts)
        survey.look(lambda: demand_known_names({*self._environment, *held}, known))
        known.discard(REGISTRATION)  # a credential, see homeserver.py
        self._values = {name: v for name, v in self._door().values.items() if name not in held}
        found = survey.look(lambda: answers.given(self._environment, known, held))
        self._values |= found or {}
        survey.look(lambda: demand_sound_values(self._values))
        if found is not None and not ask:
            survey.look(lambda: answers.demand(self._values, held))

    def _prepare(self) -> None:
        host, step = self._host, self._walk.step
        for directory, mode in ((host.opt, 0o755), (host.environment_file.parent, 0o750)):
            step(f"make {directory}", partial(files.make_directory, directory, mode))
        self._make_user()
        names = ", ".join(sorted(self._values)) or "nothing new"
        places = [host.environment_file, *answers.secret_files(host, self._texts).values()]
        before = {path: files.read(path) for path in places}
        step(
            f"write {host.environment_file} ({names})",
            lambda: answers.store(host, self._texts, self._values),
            lambda: _put_back(before),
            "restore the settings",
        )
        if self._door().is_wanted:
            names = f"{KNOWS}, {LISTENS}" if self._door().listens else KNOWS
            step(
                f"copy what the units need: {names}",
                self._open_a_door,
                self._restore_units,
                "restore the units",
            )

    def _open_a_door(self) -> None:
        host, door = self._host, self._door()
        self._put(host.units / KNOWS, door.knows.encode())
        self._put(host.units / LISTENS, door.listens.encode() or None)
        if host.units / LISTENS in self._saved and host.is_active(HOMESERVER_SOCKET):
            # The guard has the old port until it is restarted; the new one is opened then.
            host.systemctl("stop", HOMESERVER_SOCKET)

    def _make_user(self) -> None:
        users = directives(self._texts, "User")
        if "yes" in directives(self._texts, "DynamicUser")[-1:] or not users:
            self._walk.step("leave making the user to systemd (DynamicUser)", lambda: None)
            return
        command = self._environment.get("USERADD") or "useradd"
        home = ["--no-create-home", "--home-dir", "/var/lib/lotus-guard"]
        shell = ["--shell", "/usr/sbin/nologin"]

        def make() -> None:
            try:
                run(["id", "-u", users[-1]])
            except Trouble:
                run([command, "--system", "--user-group", *home, *shell, users[-1]])

        self._walk.step(f"make the user {users[-1]}, if it is missing", make)

    @property
    def _is_to_be_built(self) -> bool:
        """Return whether the tree is not that of a release, which would be that release."""
        return self._tree.parent.parent != self._releases.opt / "releases"

    def _source_revision(self) -> str:
        return self._source.revision() if self._is_to_be_built else self._tree.parent.name

    def _service(self) -> Service:
        """Return the service as the new unit will have it, once the settings are written."""
        return Service({**self._values, **service_environment(self._host, self._texts)})

    def _is_well(self) -> bool:
        service = self._service()
        return probe.is_upstream(service.upstream) and not probe.fault_of_the_old(service)

    def _update(self, revision: str) -> None:
        """Bring units and release up to date, the guard being in place."""
        say("the guard is in place and working")
        current = self._releases.current
        if revision != current:
            self._deployment.gates(revision)
        socket = self._tree / "systemd" / SOCKET
        there = files.read(self._host.units / SOCKET)
        # The service's unit belongs to the release: the deployment brings it, and takes it back.
        self._install_units(revision, [GUARD] if revision != current else [])
        if socket.exists() and socket.read_bytes() != there:
            self._walk.step("let systemd hold the port", self._start, self._start, "start again")
        elif self._host.units / GUARD in self._saved or (
            revision == current and self._opens_a_door()
        ):
            self._walk.step(f"restart {GUARD}", lambda: self._host.systemctl("restart", GUARD))
        self._walk.step("enable the guard's units", self._enable)
        if revision != current:
            self._walk.keep()  # from here on the deployment takes back what it does itself
            self._deployment.switch(revision)
        else:
            self._walk.step("wait until it answers", self._deployment.wait)

    def _opens_a_door(self) -> bool:
        changed = {self._host.units / name for name in (KNOWS, LISTENS)} & self._saved.keys()
        return not self._walk.dry and (bool(changed) or self._crossing.needs_a_restart())

    def _move(self, revision: str) -> None:
        """Put the guard on the public port, and lk-jwt-service behind it."""
        host, walk, before = self._host, self._walk, self._releases.current
        waited = host.waits
        if waited:  # for Synapse asks nobody else any more
            text = "the guard serves only the homeserver's port"
            walk.step(text, lambda: None, self._wait_again, f"{text} again")
        service = self._service()
        release = self._releases.directory(revision)
        self._gates(service, release)
        self._install_units(revision)
        walk.step(
            f"current: {revision}",
            lambda: self._releases.point("current", revision),
            lambda: self._releases.point("current", before),
            f"current: {before}",
        )
        undo = None if waited else self._disable
        walk.step("enable the guard's units", self._enable, undo, "disable them")
        if not host.is_in_place:
            self._crossing.before_the_move(release, self._texts)
        began = time.monotonic()
        walk.step(
            f"move lk-jwt-service to {service.upstream}",
            self._move_upstream,
            self._move_back,
            f"move lk-jwt-service back to {service.public}",
        )
        walk.step("start the guard", self._start, self._stop, "stop the guard")
        walk.step("wait until it answers", self._deployment.wait)
        if not walk.dry:
            away = time.monotonic() - began
            say(f"  nobody could get a token for at most {away:.1f} s")
        seconds = min(5.0, self._settings.probe_seconds)
        walk.step(f"probe it for {seconds:g} s", lambda: self._deployment.watch(seconds))

    def _gates(self, service: Service, release: Path) -> None:
        """Look at a release before anything is moved; raises Trouble."""
        now = service.upstream if probe.is_upstream(service.upstream) else service.public or ""
        self._walk.step(
            "test: lotus-guard check --offline",
            lambda: check_offline(self._host, release, self._service()),
        )
        self._walk.step(
            f"test: start in front of {now} on spare ports, probe every endpoint, full check",
            lambda: self._try_out(release, now),
        )

    def _wait_again(self) -> None:
        self._host.systemctl("restart", GUARD)

    def _try_out(self, release: Path, upstream: str) -> None:
        moved = upstream == self._service().upstream
        ignored = NOT_THE_TRIALS if moved else (*NOT_THE_TRIALS, *BEFORE_THE_MOVE)
        check = partial(check_online, release, ignored=ignored)
        seconds = self._settings.start_seconds
        try_out(self._host, release, self._service(), seconds, upstream, check)

    def _install_units(self, revision: str, without: Sequence[str] = ()) -> None:
        host = self._host
        units = self._releases.directory(revision) / "source/systemd"
        shown = units if units.is_dir() else self._tree / "systemd"
        names = [str(path.relative_to(shown)) for path in sorted(shown.rglob("*.*"))]
        names = [name for name in names if name not in (DROP_IN, *without)]
        names = [name for name in names if (shown / name).is_file()]

        def install() -> None:
            for name in names:
                self._put(host.units / name, (shown / name).read_bytes())
            for unit, condition in CONDITIONS.items():
                path = host.units / f"{unit}.d" / CONDITION_NAME
                if unit in names:
                    self._put(path, condition.encode())
            host.systemctl("daemon-reload")

        self._walk.step(
            f"copy the units {', '.join(names)}", install, self._restore_units, "restore the units"
        )

    def _put(self, path: Path, content: bytes | None) -> None:
        there = files.read(path)
        if there != content:
            self._saved[path] = there
            _write(path, content)

    def _restore_units(self) -> None:
        for path, content in self._saved.items():
            _write(path, content)
        self._host.systemctl("daemon-reload")

    def _own_units(self) -> list[str]:
        return [*([SOCKET] if self._host.has_socket else []), GUARD]

    def _enable(self) -> None:
        self._host.systemctl("enable", *self._own_units())

    def _disable(self) -> None:
        self._host.systemctl("disable", *self._own_units())

    def _start(self) -> None:
        """Start the guard; where systemd holds the port, that first."""
        self._stop()
        for unit in self._own_units():
            self._host.systemctl("start", unit)

    def _stop(self) -> None:
        self._host.systemctl("stop", *self._own_units())

    def _move_upstream(self) -> None:
        drop_in = (self._tree / "systemd" / DROP_IN).read_bytes()
        files.write(self._host.units / DROP_IN, drop_in)
        self._restart_upstream(self._service().upstream)

    def _move_back(self) -> None:
        files.remove(self._host.units / DROP_IN)
        self._restart_upstream(self._service().public or "")

    def _restart_upstream(self, base: str) -> None:
        self._host.systemctl("daemon-reload")
        self._host.systemctl("restart", UPSTREAM)
        seconds = self._settings.start_seconds
        wrong = f"{UPSTREAM} does not answer at {base}; see LIVEKIT_JWT_BIND in its settings"
        probe.wait_until(
            "lk-jwt-service", lambda: "" if probe.is_upstream(base) else wrong, seconds
        )

    def _link_command(self) -> None:
        """Have `lotus-guard` on everybody's PATH, unless something of that name is there."""
        link, target = self._host.command, self._releases.opt / "current/venv/bin/lotus-guard"
        if not link.exists() and not link.is_symlink():
            self._walk.step(f"make the command {link}", lambda: _point(link, target))

    def _set_up_timer(self) -> None:
        host, step = self._host, self._walk.step
        source = self._environment.get(f"{PREFIX}SOURCE")
        if source and host.deploy_file.exists():
            self._name_other_source(source)
        elif source:
            lines = f"SOURCE={quoted(source)}\nBRANCH={quoted(self._settings.branch)}\n"
            step(f"write {host.deploy_file}", lambda: files.write(host.deploy_file, lines))
        timer = f"{DEPLOYER}.timer"
        if (source or self._settings.source) and (self._tree / "systemd" / timer).exists():
            step(f"enable and start {timer}", lambda: host.systemctl("enable", "--now", timer))

    def _name_other_source(self, wanted: str) -> None:
        """Say so where the timer will not take what the environment names."""
        there = read_settings(self._host, {})
        if (there.source, there.branch) != (wanted, self._settings.branch):
            text = f"{self._host.deploy_file} says {there.source}, branch {there.branch}: that is "
            say(f"note: {text}what the timer takes; change it there")

    def _advise(self) -> None:
        """Say what `lotus-guard check` finds; it stops nothing any more."""
        service = self._service()
        current = self._releases.opt / "current"
        try:
            check_online(current, self._crossing.environment(service))
        except Trouble as why:
            say(f"  {why}")


def _point(link: Path, target: Path) -> None:
    files.make_directory(link.parent)
    files.point(link, str(target))


def _write(path: Path, content: bytes | None) -> None:
    if content is None:
        files.remove(path)
    else:
        files.write(path, content)


def _put_back(before: Mapping[Path, bytes | None]) -> None:
    for path, content in before.items():
        if content is None:
            files.remove(path)
        else:
            files.rewrite(path, content, 0o640)


def _work(options: argparse.Namespace, tree: Path, environment: Mapping[str, str]) -> None:
    host = Host.of(options.root, environment)
    walk = Walk(options.dry_run)
    ask = answers.at_a_terminal() and not walk.dry
    if walk.dry:
        Install(host, tree, environment, walk, options.move_now).run(ask)
        return
    with locked(host):
        Install(host, tree, environment, walk, options.move_now).run(ask)


def main(arguments: Sequence[str], tree: Path, environment: Mapping[str, str] = os.environ) -> int:
    """Run the command from this tree; gives its exit code."""
    parser = argparse.ArgumentParser(prog="install", description=__doc__)
    parser.add_argument("--root", default="/", help="use this directory as the root, for testing")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print every step and change nothing; fails where the run would",
    )
    parser.add_argument(
        NOW, action="store_true", help="don't wait for Synapse to forward to the guard"
    )
    options = parser.parse_args(arguments)
    return guarded(lambda: _work(options, tree, environment))
