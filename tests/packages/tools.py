"""What these tests need from outside; `tests/real/install.py` installs it."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.real.processes import REAL, ROOT

BUILDING = ("dpkg-buildpackage", "dh", "help2man", "lintian")
TOOLS = REAL / "tools"
DEBIAN = REAL / "bookworm.tar"
"""A Debian as debootstrap's minbase makes it, which is what debian:bookworm-slim is made from."""
LEFT_OUT = (
    "*.egg-info",
    "__pycache__",
    "build",
    "dist",
    ".git",
    ".venv",
    ".venv-run",
    ".real",
    ".*_cache",
)


def require(what: str, there: bool) -> None:
    """Skip where something is missing, or fail where it must be there."""
    if not there:
        if os.environ.get("REQUIRE_REAL_TESTS"):
            pytest.fail(f"{what} is missing: run `make test` as root on a Debian")
        pytest.skip(f"{what} is missing: run `make test` as root on a Debian")


def require_debian() -> None:
    """Skip or fail where there is no Debian to unpack, or nobody who may enter it."""
    require("a Debian to unpack, and root who may", DEBIAN.exists() and os.geteuid() == 0)


def tool(name: str) -> str:
    """Return the way to one of our own tools."""
    path = TOOLS / "bin" / name
    require(name, path.exists())
    return str(path)


def run(
    command: Sequence[str],
    folder: Path = ROOT,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    seconds: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; what it wrote is in the failure."""
    done = subprocess.run(
        list(command),
        cwd=folder,
        env={**without_ours(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if check:
        assert done.returncode == 0, f"{command}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def without_ours() -> dict[str, str]:
    """Return the environment without what would let a command find this source, or configure it."""
    ours = ("LOTUS_GUARD_", "LIVEKIT_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def copy_source(folder: Path) -> Path:
    """Copy the source, without what building and testing leave in it."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return folder
