"""Buildah and Podman as root, with storage of their own: no daemon, and no registry of images.

The base image is the Debian of the other tests. Containers are started in a mount namespace of
their own since crun refuses a machine that has both kinds of control groups mounted; they are in
none of them here, so no memory limit is tested.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.packages.tools import DEBIAN, run

BASE = "localhost/debian:bookworm-slim"
IMAGE = "localhost/lotus-guard"
CERTIFICATE = "/run/registry.pem"
HIDE_CGROUPS = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
# Without limits crun asks for those of a machine where it may raise them.
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")
BARE = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges"),
)


@frozen
class Engine:
    """Everything is below one folder, and goes with it."""

    folder: Path

    driver: str

    @staticmethod
    def in_(folder: Path) -> "Engine":
        """Make one; where overlays cannot be mounted, it copies files, which takes longer."""
        overlay = Engine(folder, "overlay")
        works = overlay.podman("info", check=False).returncode == 0
        return overlay if works else Engine(folder / "vfs", "vfs")

    @property
    def _storage(self) -> list[str]:
        places = ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run")]
        return ["--storage-driver", self.driver, *places]

    def podman(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run podman; what runs in containers does not see the machine's control groups."""
        own = [*self._storage, "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        runs = words[0] in ("run", "exec", "healthcheck")
        apart = ["unshare", "--mount", "sh", "-c", HIDE_CGROUPS, "sh"] if runs else []
        return run([*apart, "podman", *own, *words], check=check)

    def build(self, context: Path) -> None:
        """Build the image as docs/install-containers.md has it, from a base that is here."""
        self.podman("import", "--quiet", str(DEBIAN), BASE)
        folder = context / "deploy/container"
        buildah = ["buildah", *self._storage, "bud", "--isolation", "chroot", "--format", "docker"]
        run(
            [
                *(*buildah, "--layers=false", "--quiet", "--build-arg", f"BASE={BASE}"),
                *("--file", str(folder / "Containerfile"), "--tag", IMAGE),
                *("--ignorefile", str(folder / "Containerfile.dockerignore")),
                *self._registry(),
                str(context),
            ],
            seconds=600,
        )

    def _registry(self) -> list[str]:
        """Let pip reach its registry as it does here."""
        settings = {n[4:].lower(): v for n, v in os.environ.items() if n.startswith("PIP_")}
        certificate = settings.pop("cert", "")
        mounts = [f"{certificate}:{CERTIFICATE}:ro"] if certificate else []
        settings |= {"cert": CERTIFICATE} if certificate else {}
        lines = [f"{name.replace('_', '-')} = {value}" for name, value in settings.items()]
        path = self.folder / "pip.conf"
        path.write_text("\n".join(["[global]", *lines, ""]))
        mounts.append(f"{path}:/etc/pip.conf:ro")
        return [word for mount in mounts for word in ("--volume", mount)]

    def config(self) -> Any:
        """Return how the image says that it runs."""
        (found,) = json.loads(self.podman("image", "inspect", IMAGE).stdout)
        return {**found["Config"], "Healthcheck": found.get("HealthCheck") or found["Healthcheck"]}

    def start(self, name: str, options: Sequence[str]) -> None:
        """Start a container, as bare as the compose files have it, on a network of its own."""
        own = ["--detach", "--name", name, "--cgroups=disabled", "--network", "none", *LIMITS]
        self.podman("run", *own, *BARE, *options, IMAGE)

    def is_healthy(self, name: str) -> bool:
        """Ask a container as its image says."""
        return self.podman("healthcheck", "run", name, check=False).returncode == 0

    def root(self, name: str) -> Path:
        """Return a folder with the image's files, in which nothing runs yet."""
        self.podman("create", "--name", name, "--cgroups=disabled", "--network", "none", IMAGE)
        return Path(self.podman("mount", name).stdout.strip())

    def stop(self) -> None:
        """End what runs, and take the storage away: a gigabyte."""
        self.podman("rm", "--all", "--force", "--time", "1", check=False)
        run(["rm", "-rf", str(self.folder)])
