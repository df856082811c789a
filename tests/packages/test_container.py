"""The image, built and run by Podman, and what the compose files describe.

Registries are not asked here. What that leaves open is in docs/packages.md ("Not run").
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve, frozen

from lotus_guard.check.upstream_version import GO
from lotus_guard.run.config import variable_names
from tests.packages.engine import Engine
from tests.packages.roots import Entry, Root, started
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


@frozen
class Image:
    """The image's files in a folder, and how it says that it runs."""

    root: Root
    config: Mapping[str, Any]

    @property
    def env(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self.config["Env"])

    @property
    def user(self) -> str:
        return str(self.config["User"])

    @property
    def health(self) -> list[str]:
        """Return the health command, without the word that says how it is run."""
        return list(self.config["Healthcheck"]["Test"][1:])

    def entry(self) -> Entry:
        return Entry(user=self.user, env=self.env, folder=self.config["WorkingDir"])


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A container engine that has built the image."""
    require_debian()
    require("buildah, podman or crun", all(shutil.which(n) for n in ("buildah", "podman", "crun")))
    made = Engine.in_(tmp_path_factory.mktemp("engine"))
    try:
        made.build(copy_source(tmp_path_factory.mktemp("context") / "source"))
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def image(engine: Engine) -> Image:
    return Image(Root(engine.root("files")), engine.config())


def composed(file: str, folder: Path, *options: str) -> Any:
    """Return what compose makes of a file; by `docker compose` where docker is there."""
    plugin = tool("docker-compose")
    (folder / "cli-plugins").mkdir()
    (folder / "cli-plugins" / "docker-compose").symlink_to(plugin)
    command = ["docker", "compose"] if shutil.which("docker") else [plugin]
    asked = [*command, *options, "--file", str(FOLDER / file), "config", "--format", "json"]
    done = run(asked, env={"DOCKER_CONFIG": str(folder)})
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The stack to try."""
    return composed("compose.yaml", tmp_path_factory.mktemp("docker"))


def test_the_linter_has_nothing_to_say() -> None:
    assert run([tool("hadolint"), str(FOLDER / "Containerfile")], check=False).stdout == ""


def test_the_context_has_what_is_copied_and_nothing_else() -> None:
    lines = (FOLDER / "Containerfile.dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE, re.MULTILINE)
    assert let_in == {name for names in copies for name in names.split()}


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


def test_it_runs_without_rights_on_a_read_only_root_and_ends_when_told(engine: Engine) -> None:
    """By Podman, as bare as docs/install-containers.md has it."""
    assert engine.config()["User"] == "10001:10001"
    settings = {
        "LIVEKIT_URL": "ws://127.0.0.1:1",
        "LIVEKIT_KEY": "key",
        "LIVEKIT_SECRET": "secret",
        "LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:1",
        "LOTUS_GUARD_SYNAPSE_TOKEN": "token",
    }
    engine.start("guard", [f"--env={name}={value}" for name, value in settings.items()])
    until("it is healthy", lambda: engine.is_healthy("guard"), 60.0)
    inside = "id -u; grep -E 'CapEff|NoNew' /proc/1/status; touch /x || ls /var/lib/lotus-guard"
    seen = engine.podman("exec", "guard", "sh", "-c", inside).stdout.split()
    assert seen[:5] == ["10001", "CapEff:", "0000000000000000", "NoNewPrivs:", "1"]
    assert "lotus-guard.sqlite" in seen
    engine.podman("stop", "--time", "8", "guard")
    assert engine.podman("inspect", "--format", "{{.State.ExitCode}}", "guard").stdout == "0\n"
    log = engine.podman("logs", "guard")
    assert "Traceback" not in log.stdout + log.stderr


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
        usual = service["entrypoint"] or self.image.config["Entrypoint"]
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
            if volume["target"] == self.image.config["WorkingDir"]:
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


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The real stack, with all that it can start."""
    sample = ["--env-file", str(FOLDER / "stack/env.sample")]
    profiles = ["--profile", "sfu", "--profile", "redis"]
    folder = tmp_path_factory.mktemp("docker-stack")
    return composed("stack/compose.yaml", folder, *sample, *profiles)


def test_the_real_stack_is_bare_and_publishes_no_more_than_it_must(stack: Any) -> None:
    services = stack["services"]
    assert set(services) == {"guard", "lk-jwt-service", "livekit", "redis"}
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"].split(":")[0] not in ("", "0"), name
    published = {
        (name, port["published"]): port.get("host_ip", "")
        for name, service in services.items()
        for port in service.get("ports", [])
    }
    everywhere = {key for key, address in published.items() if address != "127.0.0.1"}
    assert everywhere == {("livekit", "7881"), ("livekit", "7882")}
    assert "ports" not in services["lk-jwt-service"], "it would be a way past the guard"


def test_the_real_stack_has_the_guards_settings_and_the_images_health(stack: Any) -> None:
    guard = stack["services"]["guard"]
    settings = {**guard["environment"], "STATE_DIRECTORY": "/"}
    assert {name for name in settings if name.startswith("LOTUS_GUARD_")} <= set(variable_names())
    secrets = {f"/run/secrets/{each['source']}" for each in guard["secrets"]}
    assert {value for value in settings.values() if value.startswith("/run/")} == secrets
    words = re.search(r"^  CMD (\[.*\])$", CONTAINERFILE, re.MULTILINE)
    assert words is not None
    as_in_the_image = json.loads(words[1])[2].replace("; ", "\n").replace("'", '"')
    assert guard["healthcheck"]["test"][-1].strip() == as_in_the_image
    livekit = yaml.safe_load(stack["services"]["livekit"]["environment"]["LIVEKIT_CONFIG"])
    assert livekit["webhook"]["urls"] == ["http://guard:8070/sfu_webhook"]


def test_the_real_stacks_sample_names_what_compose_asks_for() -> None:
    text = (FOLDER / "stack/compose.yaml").read_text()
    sample = (FOLDER / "stack/env.sample").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+)", text)) | {"COMPOSE_PROFILES"}
    assert set(re.findall(r"^#?([A-Z_]+)=", sample, re.MULTILINE)) == asked
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))
    shown = dict(re.findall(r"^#([A-Z_]+)=(.*)$", sample, re.MULTILINE))
    assert shown == {name: value for name, value in defaults.items() if name in shown}


def test_the_real_stacks_guard_becomes_healthy(engine: Engine, stack: Any, tmp_path: Path) -> None:
    """With its environment, files as the page has them made, and no neighbour there yet."""
    guard = stack["services"]["guard"]
    options = [f"--env={name}={value}" for name, value in guard["environment"].items()]
    for name, text in (("livekit-keys", f"lotus: {'0' * 64}\n"), ("synapse-token", "token\n")):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o400)
        os.chown(path, 10001, 10001)
        options.append(f"--volume={path}:/run/secrets/{name}:ro")
    engine.start("real", [*options, f"--user={guard['user']}"])
    until("it is healthy", lambda: engine.is_healthy("real"), 60.0)
    checked = engine.podman("exec", "real", "lotus-guard", "check", "--offline", check=False)
    assert "fault" not in checked.stdout, checked.stdout
