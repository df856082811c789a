"""Ours as it was at the last tag, or at another revision: beside it shows what a change costs."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

from bench.tools import Missing
from tests.real.processes import ROOT


def last_tag(repository: Path = ROOT) -> str:
    """Name the last tag before this tree, or on it; raises Missing."""
    try:
        return _git(repository, "describe", "--tags", "--abbrev=0").decode().strip()
    except Missing:
        raise Missing("there is no tag to compare with, and no --against") from None


def named(revision: str, repository: Path = ROOT) -> str:
    """See that there is such a revision; raises Missing."""
    _git(repository, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    return revision


def unpack(revision: str, directory: Path, repository: Path = ROOT) -> Path:
    """Write a revision's guard into a folder of its own; returns that. Raises Missing."""
    folder = directory / f"at-{revision.replace('/', '-')}"
    # A word that begins with a dash would be an option.
    archive = _git(repository, "archive", "--end-of-options", revision, "lotus_guard", "twisted")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    found = subprocess.run(
        [sys.executable, "-c", "import lotus_guard; print(lotus_guard.__file__)"],
        env={"PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(found).is_relative_to(folder), f"{found} would run, and not {revision}"
    return folder


def _git(repository: Path, *words: str) -> bytes:
    try:
        done = subprocess.run(["git", *words], cwd=repository, capture_output=True, check=False)
    except FileNotFoundError:
        raise Missing("git is missing: earlier revisions are not at hand") from None
    if done.returncode:
        raise Missing(f"git {words[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
