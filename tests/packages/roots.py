"""A Debian in a folder, entered as a container is: own processes, own mounts, perhaps read-only."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

from tests.packages.tools import DEBIAN, run, without_ours

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATE = "/run/registry.pem"
"""Where PIP_CERT is inside; ca-certificates would write over its usual place."""
NOBODY = "65534:65534"


@frozen
class Entry:
    """How the folder is entered."""

    user: str = "0:0"
    env: Mapping[str, str] = field(factory=dict)
    folder: str = "/"
    mounts: Mapping[str, Path] = field(factory=dict)
    """What of outside is seen where."""
    read_only: bool = False
    network: int = 0
    """The process whose network is used; 0: that of the tests."""


@frozen
class Root:
    """The folder."""

    path: Path

    @staticmethod
    def unpack(path: Path) -> "Root":
        """Make a fresh Debian, which reaches the network as this machine does."""
        path.mkdir(parents=True)
        run(
            ["tar", "--extract", "--numeric-owner", "--file", str(DEBIAN), "--directory", str(path)]
        )
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", path / "etc" / name)
        # Registries behind a certificate of the house are reached from inside as from here.
        certificate = os.environ.get("PIP_CERT")
        if certificate:
            shutil.copy(certificate, path / CERTIFICATE.lstrip("/"))
        return Root(path)

    def copy(self, path: Path) -> "Root":
        """Make another one of the very same files: what is to differ must be written anew."""
        run(["cp", "--archive", "--link", str(self.path), str(path)])
        return Root(path)

    def remove(self) -> None:
        """Take it away: pytest would keep it for days."""
        run(["rm", "-r", str(self.path)])

    def run(
        self, command: Sequence[str], entry: Entry | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end; nothing that it started outlives it."""
        return run(self.entering(command, entry or Entry()), check=check)

    def entering(self, command: Sequence[str], entry: Entry) -> list[str]:
        """Return the command that runs one in it, as process 1 of its own."""
        root = str(self.path)
        script = [f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc"]
        for inside, outside in entry.mounts.items():
            self._place(inside, outside)
        if entry.read_only:
            script += [f"mount -o remount,ro,bind {root}", f"mount -t tmpfs tmpfs {root}/tmp"]
        for inside, outside in entry.mounts.items():
            target = f"{root}{inside}"
            script.append(f"[ -e {target} ] || mkdir -p {target}")  # under the /tmp of just now
            script.append(f"mount --bind {outside} {target}")
        script.append(f'exec chroot --userspec={entry.user} {root} "$@"')
        variables = {"PATH": PATH, "HOME": "/", **entry.env}
        settled = [f"{name}={value}" for name, value in variables.items()]
        network = [f"--net=/proc/{entry.network}/ns/net"] if entry.network else []
        return [
            *(["nsenter", *network] if network else []),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
            *("sh", "-euc", "; ".join(script), "enter"),
            *("env", "--ignore-environment", "--chdir", entry.folder, *settled),
            *command,
        ]

    def _place(self, inside: str, outside: Path) -> None:
        """Make what something is mounted on."""
        target = self.path / inside.lstrip("/")
        if outside.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.touch()

    def files(self) -> set[str]:
        """List all that is in it, apart from what dpkg and apt write about themselves."""
        own = ("proc", "dev", "tmp", "var/lib/dpkg", "var/lib/apt", "var/log", "var/cache")
        found = set()
        for folder, folders, names in os.walk(self.path):
            here = os.path.relpath(folder, self.path)
            if here.startswith(own):
                folders.clear()
                continue
            found |= {os.path.normpath(os.path.join(here, name)) for name in folders + names}
        return {name for name in found if not name.startswith(own)}


@contextmanager
def started(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Start a process, inside or outside; gives its id, and kills it in the end."""
    with log.open("wb") as output:
        settings = {**without_ours(), **(env or {})}
        process = subprocess.Popen(list(command), stdout=output, stderr=output, env=settings)
    try:
        yield process.pid
    finally:
        # By hand: a process that changes its user, as process 1 inside may, outlives its parent.
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()


def inner(pid: int) -> int:
    """Return the process that `unshare` has started: to it signals go."""
    return children(pid)[0]


def children(pid: int) -> list[int]:
    """List a process's own children."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []
