"""A made-up host: a root, a systemd, an lk-jwt-service on the public port, a repository."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field

from tests.deploy.client import Client
from tests.deploy.releases import Repository, make_tree
from tests.deploy.systemd import Systemd
from tests.real.processes import ROOT, Answer, free_port, http, until

SECRET = "the-sandbox-has-no-secrets-to-keep-0000"
TOKEN = "sandbox-admin"
UPSTREAM = """\
[Service]
Environment=LIVEKIT_JWT_BIND=:8070 LIVEKIT_URL=ws://127.0.0.1:7880
Environment=LIVEKIT_KEY=sandbox LIVEKIT_SECRET={secret}
ExecStart={python} -I -S {script}
[Install]
WantedBy=multi-user.target
"""
INSTALL = "import sys; from pathlib import Path; from deploy.lib.install import main; "
NEUTRAL = ("LOTUS_", "LIVEKIT_", "GIT_", "SYSTEMCTL")


@define(eq=False)
class Host:
    """Commands are run on it as an operator would, below its root."""

    directory: Path
    settings: Mapping[str, str] = field(factory=dict)
    """More for the installer's environment."""
    root: Path = field(init=False)
    ports: dict[int, int] = field(init=False)
    systemd: Systemd = field(init=False)
    repository: Repository = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.root = self.directory / "root"
        units = self.root / "lib/systemd/system"
        units.mkdir(parents=True)
        (self.root / "etc/systemd/system").mkdir(parents=True)
        self.ports = {port: free_port() for port in (8070, 8071, 8072, 8069)}
        self.systemd = Systemd(self.root, self.ports)
        self.repository = Repository(self.directory / "repository")
        self.repair_upstream()

    def repair_upstream(self) -> None:
        """Let lk-jwt-service run as it should, on the public port or behind a guard."""
        script = ROOT / "tests/deploy/upstream.py"
        text = UPSTREAM.format(python=sys.executable, script=script, secret=SECRET)
        unit = self.root / "lib/systemd/system/lk-jwt-service.service"
        if unit.exists() and unit.read_text() == text:
            return
        unit.write_text(text)
        self.systemd.ask("daemon-reload")
        self.systemd.ask("enable", "lk-jwt-service.service")
        self.systemd.ask("restart", "lk-jwt-service.service")
        until("upstream answers", self.asks_for_a_token)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[8070]}"

    @property
    def opt(self) -> Path:
        return self.root / "opt/lotus-guard"

    @property
    def newest(self) -> str:
        """What the newest revision answers with."""
        return str(self.repository.count)

    @property
    def current(self) -> str:
        return Path(os.readlink(self.opt / "current")).name

    @property
    def environment(self) -> dict[str, str]:
        """What an operator has in their environment; the ports are what makes it a made-up host."""
        outer = {name: v for name, v in os.environ.items() if not name.startswith(NEUTRAL)}
        return {
            **outer,
            "PYTHONPATH": str(ROOT),
            "SYSTEMCTL": str(self.systemd.systemctl),
            "LIVEKIT_URL": "ws://127.0.0.1:7880",
            "LIVEKIT_KEY": "sandbox",
            "LIVEKIT_SECRET": SECRET,
            "LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:8008",
            "LOTUS_GUARD_SYNAPSE_TOKEN": TOKEN,
            "LOTUS_GUARD_LISTEN": f"tcp:{self.ports[8070]}:interface=127.0.0.1",
            "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{self.ports[8072]}:interface=127.0.0.1",
            "LOTUS_GUARD_UPSTREAM": f"http://127.0.0.1:{self.ports[8071]}",
            "LOTUS_DEPLOY_SOURCE": str(self.repository.path),
            "LOTUS_DEPLOY_BRANCH": "deployment",
            "LOTUS_DEPLOY_PROBE_SECONDS": "0.5",
            "LOTUS_DEPLOY_START_SECONDS": "3",
            **self.settings,
        }

    def run(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; what it says is in `stdout`."""
        done = subprocess.run(
            command,
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        print(f"$ {' '.join(command)[-100:]}  # {done.returncode}\n{done.stdout}")
        assert SECRET not in done.stdout
        assert TOKEN not in done.stdout
        return done

    def install(
        self, *words: str, tree: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run deploy/install from a tree, the repository's if none is named."""
        where = tree or self.repository.path
        arguments = ["--root", str(self.root), *words]
        code = f"{INSTALL}sys.exit(main({arguments!r}, Path({str(where)!r})))"
        return self.run([sys.executable, "-c", code], **more)

    def deploy(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run deploy/auto-deploy."""
        script = str(ROOT / "deploy/auto-deploy")
        return self.run([sys.executable, script, "--root", str(self.root), *words], **more)

    def revert(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run deploy/revert, as sh."""
        script = str(ROOT / "deploy/revert")
        port = {"PUBLIC_PORT": str(self.ports[8070])}
        return self.run(["/bin/sh", script, "--root", str(self.root), *words], **{**port, **more})

    def asks_for_a_token(self) -> bool:
        """Return whether one request at the public port brings a token."""
        try:
            return self.ask().status == 200
        except OSError:
            return False

    def ask(self) -> Answer:
        return http("POST", f"{self.url}/sfu/get", b'{"room": "!a:b"}', seconds=10)

    @property
    def answers(self) -> str:
        """Which made-up release answers at the public port; empty for lk-jwt-service itself."""
        return self.ask().headers.get("X-Version", "")

    def client(self) -> Client:
        return Client(self.url)

    def stop(self) -> None:
        self.systemd.stop()

    def dump(self) -> str:
        """What the journal has, for a test that fails."""
        return self.systemd.log.read_text(errors="replace")[-5000:]


def other_tree(directory: Path, behaviour: str = "good", socket: bool = True) -> Path:
    """Write a made-up release that is in no repository."""
    make_tree(directory, behaviour, "other", socket)
    return directory
