"""The container file, its steps carried out here; and the stack that compose.yaml describes.

No container engine runs here. What that leaves open is in docs/packages.md ("Not run").
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from lotus_guard.check.upstream_version import GO
from tests.packages.containerfile import Builder, Image, copied
from tests.packages.roots import Root, inner, started
from tests.packages.tools import copy_source, require, require_debian, run, tool
from tests.real.authorization import generation_of_binary
from tests.real.processes import REAL, ROOT, until

pytestmark = pytest.mark.real
FOLDER = ROOT / "deploy" / "container"
CONTAINERFILE = (FOLDER / "Containerfile").read_text()
KNOWN_COMPLAINTS = {"operators-port-exposed", "secret-files"}
"""Of `lotus-guard check` on the stack to try: what makes it one for trying only."""
OLDER = {"upstream-version"}
"""And where lk-jwt-service is in Go, as the version that compose.yaml names is."""
VISITOR = Path(__file__).with_name("visitor.py")


def of_the_older_one() -> set[str]:
    binary = os.environ.get("LK_JWT_SERVICE")
    return OLDER if not binary or generation_of_binary(binary) == GO else set()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    require_debian()
    folder = tmp_path_factory.mktemp("image")
    context = copy_source(folder / "context")
    yield Builder(context, folder).build(CONTAINERFILE)
    for stage in folder.glob("stage-*"):
        Root(stage).remove()


@pytest.fixture(scope="session")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What compose makes of compose.yaml; by `docker compose` where docker is there."""
    plugin = tool("docker-compose")
    folder = tmp_path_factory.mktemp("docker")
    (folder / "cli-plugins").mkdir()
    (folder / "cli-plugins" / "docker-compose").symlink_to(plugin)
    command = ["docker", "compose"] if shutil.which("docker") else [plugin]
    asked = [*command, "--file", str(FOLDER / "compose.yaml"), "config", "--format", "json"]
    done = run(asked, env={"DOCKER_CONFIG": str(folder)})
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_linter_has_nothing_to_say() -> None:
    assert run([tool("hadolint"), str(FOLDER / "Containerfile")], check=False).stdout == ""


def test_the_context_has_what_is_copied_and_nothing_else() -> None:
    lines = (FOLDER / "Containerfile.dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert let_in == set(copied(CONTAINERFILE))


def test_every_port_is_on_loopback_and_every_service_of_ours_is_bare(compose: Any) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert {port["published"] for port in ports} >= {"8070", "8072", "8008", "7880"}
    guard = compose["services"]["guard"]
    assert guard["read_only"]
    assert guard["cap_drop"] == ["ALL"]
    assert "user" not in guard, "the image's own"


@contextmanager
def network() -> Iterator[int]:
    """Return a process with a network of its own, for the ports that are fixed in the image."""
    script = "ip link set lo up && echo up && exec sleep 300"
    pod = subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE)
    try:
        assert pod.stdout is not None
        assert pod.stdout.readline() == b"up\n"
        yield pod.pid
    finally:
        pod.kill()
        pod.communicate()


def test_it_runs_without_rights_on_a_read_only_root_and_ends_when_told(
    image: Image, tmp_path: Path
) -> None:
    assert image.user.split(":")[0] != "0"
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, *map(int, image.user.split(":")))
    settings = {
        "LIVEKIT_URL": "ws://127.0.0.1:1",
        "LIVEKIT_KEY": "key",
        "LIVEKIT_SECRET": "secret",
        "LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:1",
        "LOTUS_GUARD_SYNAPSE_TOKEN": "token",
    }
    with network() as pod:
        entry = evolve(
            image.entry(),
            env={**image.env, **settings},
            mounts={"/var/lib/lotus-guard": state},
            read_only=True,
            network=pod,
        )

        def healthy() -> bool:
            return image.root.run(image.health, entry, check=False).returncode == 0

        assert not healthy(), "nothing lives yet"
        log = tmp_path / "log"
        with started(image.root.entering(image.entrypoint, entry), log) as guard:
            until("the guard lives", healthy)
            os.kill(inner(guard), getattr(signal, image.stop_signal))
            until("the guard has ended", lambda: ended(guard) is not None, 6.0)
            assert ended(guard) == 0
    assert "Traceback" not in log.read_text()
    assert (state / "lotus-guard.sqlite").exists()


def ended(pid: int) -> int | None:
    """Return how a process of ours ended, if it has."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found.si_status if found else None


def test_what_the_image_gives(image: Image) -> None:
    entry = evolve(image.entry(), read_only=True)
    assert "lotus-guard" in image.root.run(["twistd", "--help"], entry).stdout
    assert "check" in image.root.run(["lotus-guard", "--help"], entry).stdout
    (module,) = image.root.path.glob("opt/lotus-guard/venv/lib/*/site-packages/lotus_guard")
    for name in ("py.typed", "synapse_module.py"):
        assert (module / name).is_file()
    assert (module.parent / "twisted" / "plugins" / "dropin.cache").is_file()


@frozen
class Trial:
    """The services of compose.yaml as processes in one network."""

    image: Image
    folder: Path
    pod: int
    services: Mapping[str, Any]

    def command(self, name: str, *instead: str) -> list[str]:
        """Return what runs a service of our own image, or another command as that service."""
        service = self.services[name]
        volumes = service.get("volumes", [])
        entry = evolve(
            self.image.entry(),
            user=service.get("user", self.image.user),
            env={**self.image.env, **service.get("environment", {})},
            mounts={volume["target"]: self._volume(volume) for volume in volumes},
            read_only=service.get("read_only", False),
            network=self.pod,
        )
        usual = service["entrypoint"] or self.image.entrypoint
        return self.image.root.entering(instead or usual, entry)

    def healthy(self, name: str) -> bool:
        """Ask as the image says."""
        return run(self.command(name, *self.image.health), check=False).returncode == 0

    def _volume(self, volume: Mapping[str, Any]) -> Path:
        if volume["type"] == "bind":
            return Path(volume["source"])
        path = self.folder / str(volume["source"])
        if not path.exists():
            path.mkdir()
            # As an engine does with what the image has there.
            if volume["target"] == self.image.folder:
                os.chown(path, *map(int, self.image.user.split(":")))
        return path

    def server(self, name: str) -> Any:
        """Start a service whose image we do not have, by the program that is in it."""
        service = self.services[name]
        settings = service.get("environment", {})
        python = str(REAL / "venv" / "bin" / "python")
        authorization = os.environ.get("LK_JWT_SERVICE")
        sandbox = [sys.executable, "-m", "lotus_guard.sandbox.lk_jwt_service"]
        programs = {
            "synapse": [python, "-m", "synapse.app.homeserver", "--config-path"],
            "livekit": [str(REAL / "bin" / "livekit-server"), *(service["command"] or [])],
            "lk-jwt-service": [authorization] if authorization else sandbox,
        }
        command = programs[name]
        if name == "synapse":
            command.append(settings["SYNAPSE_CONFIG_PATH"])
        inside = ["nsenter", f"--net=/proc/{self.pod}/ns/net", *command]
        return started(inside, self.folder / f"{name}.log", {**settings, "PYTHONPATH": str(ROOT)})


def test_the_stack_to_try(image: Image, compose: Any, tmp_path: Path) -> None:
    """With programs in place of the images we do not have; a room for one lets one in."""
    require("Synapse and livekit-server", (REAL / "bin" / "livekit-server").exists())
    # The programs are not in a container: they see the volume where it is.
    text = re.sub(r"/trial(?=[/\"])", f"{tmp_path}/trial", json.dumps(compose["services"]))
    with ExitStack() as ends:
        trial = Trial(image, tmp_path, ends.enter_context(network()), json.loads(text))
        run(trial.command("files"))
        for name in ("synapse", "livekit", "lk-jwt-service"):
            ends.enter_context(trial.server(name))
        assert "password" in run(trial.command("accounts")).stdout
        log = tmp_path / "guard.log"
        ends.enter_context(started(trial.command("guard"), log))
        until("the guard lives", lambda: trial.healthy("guard"))
        visit = ["nsenter", f"--net=/proc/{trial.pod}/ns/net", sys.executable, str(VISITOR)]
        seen = json.loads(run([*visit, str(tmp_path / "trial" / "password")]).stdout)
        checked = run(trial.command("guard", "lotus-guard", "check", "--json"), check=False)
    assert seen["focus"] == "http://127.0.0.1:8070"
    assert seen["alice"][0] == 200
    assert seen["alice"][1]["url"] == "ws://127.0.0.1:7880"
    assert seen["bob"][0] == 403
    findings = json.loads(checked.stdout)["findings"]
    complaints = {each["name"] for each in findings if each["level"] not in ("ok", "note")}
    assert complaints == KNOWN_COMPLAINTS | of_the_older_one()
