"""The Debian package in a clean Debian: installed, run, upgraded, removed, purged."""

import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from attrs import frozen

from lotus_guard.version import VERSION
from tests.packages.roots import NOBODY, Entry, Root, started
from tests.packages.tools import run
from tests.real.processes import ROOT, free_port, http, listens, until

pytestmark = pytest.mark.real

UNIT = "usr/lib/systemd/system/voice-limit-guard.service"
SOCKET = "usr/lib/systemd/system/voice-limit-guard.socket"
HOMESERVER_SOCKET = "usr/lib/systemd/system/voice-limit-guard-homeserver.socket"
SITE = "usr/lib/lotus-guard/venv/lib/python3.11/site-packages"
DROP_IN = "etc/systemd/system/lk-jwt-service.service.d/port.conf"
# Writes down what it is asked. A file units/NAME says that NAME is active and enabled; one called
# units/broken, that the guard does not start.
SYSTEMCTL = """#!/bin/sh
for last; do :; done
case "$*" in
    *is-active*) [ -e "/units/$last" ]; exit ;;
    *is-enabled*) [ -e "/units/$last" ] && echo enabled; exit ;;
esac
echo "$*" | sed 's/--[a-z]* //g' >> /calls
case "$*" in *try-restart*) [ ! -e /units/broken ] ;; esac
"""


KEEP_OURS = ("--force-confdef", "--force-confold")
"""What apt has dpkg do with changed settings where nobody can be asked."""
HASTY = Entry(env={"REVERT_SECONDS": "2"})
TAKEN_OUT = [
    "stop voice-limit-guard.socket",
    "stop voice-limit-guard-homeserver.socket",
    "stop voice-limit-guard.service",
    "daemon-reload",
    "restart lk-jwt-service.service",
    "disable voice-limit-guard.socket",
    "disable voice-limit-guard-homeserver.socket",
    "disable voice-limit-guard.service",
]


@contextmanager
def upstream() -> Iterator[int]:
    """Answer as lk-jwt-service does on a port, which a host in a folder has as well."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@frozen
class Host:
    """A Debian on which systemd seems to run."""

    root: Root

    def install(self, package: Path, check: bool = True, *options: str) -> str:
        """Install or upgrade; gives what was said."""
        shutil.copy(package, self.root.path / "package.deb")
        quiet = Entry(env={"DEBIAN_FRONTEND": "noninteractive"})
        done = self.root.run(["dpkg", *options, "--install", "/package.deb"], quiet, check)
        (self.root.path / "package.deb").unlink()
        assert check or done.returncode != 0
        return done.stdout + done.stderr

    def dpkg(self, what: str, check: bool = True) -> str:
        """Remove or purge."""
        done = self.root.run(["dpkg", what, "lotus-guard"], HASTY, check)
        assert check or done.returncode != 0
        return done.stdout + done.stderr

    def calls(self) -> list[str]:
        """Return what systemctl was asked to do since this was asked last."""
        path = self.root.path / "calls"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def path(self, name: str) -> Path:
        return self.root.path / name

    def write(self, name: str, text: str = "") -> None:
        """Write a file as the operator would."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).unlink(missing_ok=True)  # other hosts may have the very same file
        self.path(name).write_text(text)

    def put_in_place(self, port: int = 8070, behind: int = 8071) -> None:
        """Do what README.Debian says; lk-jwt-service will answer on `port`, and now on `behind`."""
        addresses = f"LOTUS_GUARD_LISTEN=tcp:{port}\n"
        addresses += f"LOTUS_GUARD_UPSTREAM=http://127.0.0.1:{behind}\n"
        self.write("etc/lotus-guard/environment", addresses)
        self.write(DROP_IN, self.path("usr/share/lotus-guard/port.conf").read_text())
        for unit, target in ((UNIT, "multi-user"), (SOCKET, "sockets")):
            wants = self.path(f"etc/systemd/system/{target}.target.wants")
            wants.mkdir(parents=True, exist_ok=True)
            (wants / Path(unit).name).symlink_to(f"/{unit}")
            self.write(f"units/{Path(unit).name}")
        self.write("units/lk-jwt-service.service")


@pytest.fixture(scope="session")
def clean(debian: Root) -> Host:
    """Nothing installed yet."""
    host = Host(debian)
    host.path("run/systemd/system").mkdir(parents=True)
    host.write("usr/bin/systemctl", SYSTEMCTL)
    host.path("usr/bin/systemctl").chmod(0o755)
    host.path("units").mkdir()
    return host


@pytest.fixture(scope="session")
def ready(clean: Host, package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """With the package, fresh from its installation."""
    host = Host(clean.root.copy(tmp_path_factory.mktemp("ready") / "root"))
    host.install(package)
    yield host
    host.root.remove()


@pytest.fixture
def bare(clean: Host, tmp_path: Path) -> Iterator[Host]:
    """One to do with as a test likes, without the package."""
    host = Host(clean.root.copy(tmp_path / "root"))
    yield host
    host.root.remove()


@pytest.fixture
def host(ready: Host, tmp_path: Path) -> Iterator[Host]:
    """One to do with as a test likes, with the package."""
    host = Host(ready.root.copy(tmp_path / "root"))
    host.calls()
    yield host
    host.root.remove()


@pytest.fixture(scope="session")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next version: another sample of the environment, and a module more."""
    folder = tmp_path_factory.mktemp("newer")
    with (unpacked(package, folder) / "etc/lotus-guard/environment").open("a") as sample:
        sample.write("# new in this version\n")
    (folder / "package" / SITE / "lotus_guard" / "novelty.py").write_text("")
    return packed(folder)


def unpacked(package: Path, folder: Path) -> Path:
    run(["dpkg-deb", "--raw-extract", str(package), str(folder / "package")])
    control = folder / "package" / "DEBIAN" / "control"
    control.write_text(control.read_text().replace(f"Version: {VERSION}", "Version: 99"))
    return folder / "package"


def packed(folder: Path) -> Path:
    path = folder / "lotus-guard_99.deb"
    run(["dpkg-deb", "-Znone", "--build", str(folder / "package"), str(path)])
    return path


def test_lintian_has_nothing_to_say(package: Path) -> None:
    strict = ["--fail-on", "error,warning", "--allow-root", "--no-cfg"]
    assert run(["lintian", *strict, str(package)], check=False).stdout == ""


def test_installing_moves_and_starts_nothing(bare: Host, package: Path) -> None:
    before = bare.root.files()
    said = bare.install(package)
    assert "nothing is started and no port moved" in said
    assert set(bare.calls()) <= {"daemon-reload"}
    own = ("usr/lib/lotus-guard", "usr/share", "etc/lotus-guard")
    new = {name for name in bare.root.files() - before if not name.startswith(own)}
    units = {UNIT, SOCKET, HOMESERVER_SOCKET}
    assert new == {"usr/bin/lotus-guard", *units, *folders_above(UNIT, before)}
    environment = bare.path("etc/lotus-guard/environment")
    assert environment.stat().st_mode & 0o777 == 0o640
    assert environment.read_text() == (ROOT / "deploy" / "environment.sample").read_text()


def folders_above(name: str, there: set[str]) -> set[str]:
    return {str(folder) for folder in Path(name).parents} - {"."} - there


def test_the_package_has_all_of_it_and_it_runs(host: Host, tmp_path: Path) -> None:
    """As the unit starts it: without rights, and nothing but its state to write to."""
    port, desk = free_port(), free_port()
    host.write(
        "etc/lotus-guard/environment",
        host.path("etc/lotus-guard/environment").read_text()
        + f"LOTUS_GUARD_LISTEN=tcp:{port}:interface=127.0.0.1\n"
        + f"LOTUS_GUARD_ADMIN_LISTEN=tcp:{desk}:interface=127.0.0.1\n"
        + "LIVEKIT_KEY=key\nLIVEKIT_SECRET=a-secret-of-32-characters-or-more\n"
        + "LOTUS_GUARD_SYNAPSE_TOKEN=token\n",
    )
    state = tmp_path / "state"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    bare = Entry(
        user=NOBODY,
        env={**settings(host), "STATE_DIRECTORY": "/var/lib/lotus-guard"},
        folder="/var/lib/lotus-guard",
        mounts={"/var/lib/lotus-guard": state},
        read_only=True,
    )
    twistd, *arguments = started_by(host)
    assert "lotus-guard" in host.root.run([twistd, "--help"], bare).stdout
    assert "check" in host.root.run(["lotus-guard", "--help"], bare).stdout
    for name in ("-check", "-explain", ""):
        assert host.path(f"usr/share/man/man1/lotus-guard{name}.1.gz").is_file()
    for name in (
        "bash-completion/completions/lotus-guard",
        "zsh/vendor-completions/_lotus-guard",
        "fish/vendor_completions.d/lotus-guard.fish",
    ):
        assert "_LOTUS_GUARD_COMPLETE" in host.path(f"usr/share/{name}").read_text()
    for name in ("synapse_module.py", "py.typed"):
        assert host.path(f"{SITE}/lotus_guard/{name}").is_file()
    command = host.root.entering([twistd, *arguments], bare)
    log = tmp_path / "log"
    with started(command, log):
        until("the guard listens", lambda: listens(port))
        assert http("GET", f"http://127.0.0.1:{desk}/livez").status == 200
    assert (state / "lotus-guard.sqlite").exists()
    assert "Traceback" not in log.read_text()


def settings(host: Host) -> dict[str, str]:
    """Read the environment as systemd does."""
    lines = host.path("etc/lotus-guard/environment").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def started_by(host: Host) -> list[str]:
    lines = host.path(UNIT).read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("ExecStart=")]
    return shlex.split(line.removeprefix("ExecStart="))


def test_an_upgrade_keeps_the_environment_and_restarts_what_runs(host: Host, newer: Path) -> None:
    host.put_in_place()
    host.write("etc/lotus-guard/environment", "LIVEKIT_URL=wss://mine.example.org\n")
    host.calls()
    host.install(newer, True, *KEEP_OURS)
    assert host.path("etc/lotus-guard/environment").read_text().startswith("LIVEKIT_URL=wss://mine")
    assert "# new in" in host.path("etc/lotus-guard/environment.dpkg-dist").read_text()
    assert host.calls() == ["daemon-reload", "try-restart voice-limit-guard.service"]
    assert host.path(DROP_IN).exists()
    assert host.path(f"{SITE}/lotus_guard/novelty.py").exists()
    cache = host.path(f"{SITE}/twisted/plugins/dropin.cache")
    assert b"lotus_guard" in cache.read_bytes(), "twistd cannot write it when the service runs"


def test_a_guard_that_cannot_be_loaded_is_not_started(
    host: Host, package: Path, tmp_path: Path
) -> None:
    host.put_in_place()
    host.calls()
    (unpacked(package, tmp_path) / SITE / "lotus_guard/run/guard.py").write_text("import nowhere\n")
    host.install(packed(tmp_path), check=False)
    assert host.calls() == [], "the guard that runs goes on"


def test_an_upgrade_that_does_not_start_gives_the_port_back(host: Host, newer: Path) -> None:
    with upstream() as port:
        host.put_in_place(port)
        host.calls()
        host.write("units/broken")
        assert "lk-jwt-service gets its port back" in host.install(newer, True, *KEEP_OURS)
    assert not host.path(DROP_IN).exists()
    assert [call for call in host.calls() if "-deploy." not in call][-8:] == TAKEN_OUT


def test_a_removal_gives_the_port_back_and_a_purge_leaves_nothing(clean: Host, host: Host) -> None:
    older = "# an older one\n[Service]\nEnvironment=LIVEKIT_JWT_BIND=127.0.0.1:8071\n"
    host.write("etc/lotus-guard/livekit-secret", "secret")
    host.write("var/lib/private/lotus-guard/lotus-guard.sqlite")
    host.path("var/lib/lotus-guard").symlink_to("private/lotus-guard")
    host.calls()
    with upstream() as port:
        host.put_in_place(port)
        host.write(DROP_IN, older)
        assert "answers on port" in host.dpkg("--remove")
    assert [call for call in host.calls() if "-deploy." not in call][:8] == TAKEN_OUT
    assert host.path("etc/lotus-guard/livekit-secret").exists()
    assert not host.path("usr/lib/lotus-guard").exists()
    host.dpkg("--purge")
    left = host.root.files() - clean.root.files()
    # What systemd itself made, and this test.
    wants = {f"etc/systemd/system/{target}.target.wants" for target in ("multi-user", "sockets")}
    theirs = {"var/lib/private", "calls", *wants}
    assert {name for name in left - theirs if not name.startswith("units/")} == set()


def test_a_removal_is_refused_where_it_would_leave_no_token_endpoint(
    host: Host, package: Path
) -> None:
    host.put_in_place()
    host.write(DROP_IN, "[Service]\nUser=somebody\n")
    host.calls()
    said = host.dpkg("--remove", check=False)
    assert "clients would get no tokens" in said
    assert host.calls() == []
    assert host.path("usr/lib/lotus-guard").exists()
    for unit in ("service", "socket"):
        host.path(f"units/voice-limit-guard.{unit}").unlink()
    host.dpkg("--remove")
    assert host.path(DROP_IN).exists()


def test_a_removal_that_lk_jwt_service_does_not_follow_is_refused(host: Host) -> None:
    """It stays on 8071, for its own settings say so: the guard is needed."""
    with upstream() as behind:
        host.put_in_place(free_port(), behind)
        host.calls()
        said = host.dpkg("--remove", check=False)
    assert "The guard is put back in front of it" in said
    assert host.path(DROP_IN).exists()
    assert [call for call in host.calls() if "-deploy." not in call] == [
        *TAKEN_OUT[:5],
        "daemon-reload",
        "start voice-limit-guard.socket",
        "start voice-limit-guard.service",
    ]
    assert host.path("usr/lib/lotus-guard/venv/bin/twistd").exists()


def test_an_upstream_that_is_down_keeps_nobody_from_removing_us(host: Host) -> None:
    host.put_in_place(free_port(), free_port())
    assert "does not answer" in host.dpkg("--remove")
    assert not host.path(DROP_IN).exists()
    assert not host.path("usr/lib/lotus-guard").exists()


def test_where_systemd_does_not_run_only_the_drop_in_goes(host: Host) -> None:
    host.put_in_place()
    host.calls()
    host.path("run/systemd/system").rmdir()
    host.dpkg("--remove")
    assert host.calls() == []
    assert not host.path(DROP_IN).exists()


def test_two_ways_of_installing_are_not_mixed(bare: Host, package: Path) -> None:
    bare.write("etc/systemd/system/voice-limit-guard.service")
    assert "deploy/revert --purge" in bare.install(package, check=False)
    assert not bare.path("usr/lib/lotus-guard").exists()


def test_nor_are_they_where_the_package_was_before(host: Host, package: Path) -> None:
    ours = (ROOT / "systemd/voice-limit-guard.service").read_text()
    host.dpkg("--remove")
    host.write("etc/systemd/system/voice-limit-guard.service", ours)
    assert "is there already" in host.install(package, check=False)
    host.write("etc/lotus-guard/livekit-secret", "secret")
    host.dpkg("--purge")
    assert host.path("etc/lotus-guard/livekit-secret").exists(), "the other one's"


def test_the_operators_own_unit_is_no_second_way(host: Host, package: Path) -> None:
    """`systemctl edit --full` puts it there."""
    host.write("etc/systemd/system/voice-limit-guard.service", host.path(UNIT).read_text())
    host.dpkg("--remove")
    host.install(package)
    assert host.path("usr/lib/lotus-guard/venv/bin/twistd").exists()


def test_what_its_page_says_to_do_is_shell(package: Path, tmp_path: Path) -> None:
    text = (ROOT / "deploy/debian/README.Debian").read_text()
    commands = re.findall(r"^       (\S.*(?:\n       .*)*)", text, re.MULTILINE)
    assert len(commands) == 2
    (tmp_path / "commands").write_text("#!/bin/sh\n" + "\n".join(commands) + "\n")
    run(["sh", "-n", str(tmp_path / "commands")])
    listed = run(["dpkg-deb", "--contents", str(package)]).stdout
    for path in re.findall(r"(/(?:usr|etc)/(?:lib|share|lotus-guard)/[\w./-]+\w)", text):
        assert f".{path}\n" in listed or f".{path}/\n" in listed, path
