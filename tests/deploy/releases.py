"""Made-up releases, in a git repository: small trees that build in two seconds."""

import shutil
import subprocess
from pathlib import Path

from attrs import define

from tests.real.processes import ROOT

HERE = Path(__file__).parent
SERVICE = """\
[Unit]
After=lk-jwt-service.service
Requires=voice-limit-guard.socket
[Service]
Type=notify
EnvironmentFile=/etc/lotus-guard/environment
ExecStart=/opt/lotus-guard/current/venv/bin/twistd --nodaemon --pidfile= lotus-guard
Restart=on-failure
RestartSec=0.2
TimeoutStopSec=2
StateDirectory=lotus-guard
DynamicUser=yes
[Install]
WantedBy=multi-user.target
"""
SOCKET = """\
[Socket]
ListenStream=8070
FileDescriptorName=public
[Install]
WantedBy=sockets.target
"""
FOR_HOMESERVER = """\
[Socket]
ListenStream=127.0.0.1:8069
FileDescriptorName=homeserver
Service=voice-limit-guard.service
[Install]
WantedBy=sockets.target
"""
TIMER = "[Timer]\nOnBootSec=1min\n[Install]\nWantedBy=timers.target\n"
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def git(directory: Path, *words: str) -> str:
    command = ["git", "-C", str(directory), "-c", "user.name=n", "-c", "user.email=e@f", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def make_tree(tree: Path, behaviour: str = "good", version: str = "0", socket: bool = True) -> None:
    """Write the files of a made-up release."""
    systemd = tree / "systemd"
    (systemd / "lk-jwt-service.service.d").mkdir(parents=True, exist_ok=True)
    (tree / "deploy").mkdir(exist_ok=True)
    text = (HERE / "guard.py").read_text()
    text = text.replace('BEHAVIOUR = "good"', f'BEHAVIOUR = "{behaviour}"')
    text = text.replace('VERSION = "0"', f'VERSION = "{version}"')
    (tree / "fake_guard.py").write_text(text)
    (tree / "backend.py").write_text((HERE / "backend.py").read_text())
    (tree / "pyproject.toml").write_text(PROJECT)
    (tree / "odd.py").write_text("def (\n" if behaviour == "syntax" else "")
    (tree / "deploy/requirements.txt").write_text("# nothing\n")
    (tree / "deploy/auto-deploy").write_text("#!/usr/bin/env python3\n")
    (tree / "deploy/auto-deploy").chmod(0o755)
    for name in ("deploy/environment.sample", "systemd/lk-jwt-service.service.d/port.conf"):
        shutil.copy(ROOT / name, tree / name)
    (systemd / "voice-limit-guard.service").write_text(SERVICE)
    (systemd / "voice-limit-guard-deploy.timer").write_text(TIMER)
    if socket:
        (systemd / "voice-limit-guard.socket").write_text(SOCKET)
        (systemd / "voice-limit-guard-homeserver.socket").write_text(FOR_HOMESERVER)


@define(eq=False)
class Repository:
    """Where the deployer fetches from."""

    path: Path
    count: int = 0
    behaviour: str = ""
    """How the newest revision behaves."""

    def __attrs_post_init__(self) -> None:
        self.path.mkdir(parents=True)
        git(self.path, "init", "--quiet", "--initial-branch", "deployment")

    def commit(self, behaviour: str = "good", socket: bool = True, version: str = "") -> str:
        """Make a new revision that behaves so; gives its name."""
        self.count, self.behaviour = self.count + 1, behaviour
        make_tree(self.path, behaviour, version or str(self.count), socket)
        git(self.path, "add", "--all")
        git(self.path, "commit", "--quiet", "--message", behaviour)
        return git(self.path, "rev-parse", "HEAD")
