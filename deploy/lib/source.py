"""Where a revision comes from: a branch of a git remote, or a directory."""

import os
import shutil
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from deploy.lib.host import Exit, Trouble, neutral, run

SECONDS = 300.0
_NOT_COPIED = ("__pycache__", "build", "dist", "node_modules")


class Source(Protocol):
    """A place that revisions come from."""

    def revision(self) -> str:
        """Name what is there now, fit for a directory's name; raises Trouble."""

    def export(self, revision: str, target: Path) -> None:
        """Put the files of that revision into a directory that is not there; raises Trouble."""


def source_of(location: str, branch: str) -> Source:
    """Make a Source; a directory without a git repository is taken as it is."""
    if not location or location.startswith("-"):
        raise Trouble(f"SOURCE is {location!r}; wanted: a git remote or a directory", Exit.USAGE)
    path = Path(location)
    if path.is_dir() and not (path / ".git").exists() and not (path / "objects").is_dir():
        return Directory(path)
    if not branch or branch.startswith(("-", "/")) or ".." in branch:
        raise Trouble(f"BRANCH is {branch!r}; wanted: the name of a branch", Exit.USAGE)
    return Git(location, f"refs/heads/{branch}")


def own_source(tree: Path) -> Source:
    """Make a Source of the tree that a script is in: its commit, or the files where they differ."""
    try:
        if (tree / ".git").exists() and not _git("-C", tree, "status", "--porcelain").strip():
            return Git(str(tree), "HEAD")
    except Trouble:  # no git, or a repository that is another user's
        pass
    return Directory(tree)


def _git(*words: str | Path) -> str:
    env = {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes", **neutral(), "GIT_TERMINAL_PROMPT": "0"}
    if "GIT_SSH_COMMAND" in os.environ:
        env["GIT_SSH_COMMAND"] = os.environ["GIT_SSH_COMMAND"]
    return run(["git", *words], Exit.SOURCE, env, SECONDS)


class Git:
    """A ref of a git repository, wherever that is."""

    def __init__(self, location: str, ref: str) -> None:
        self._location, self._ref = location, ref

    def revision(self) -> str:
        """Ask for the commit that the ref names."""
        listed = _git("ls-remote", "--", self._location, self._ref)
        found = [line.split()[0] for line in listed.splitlines() if line.endswith(self._ref)]
        if not found:
            wanted = "BRANCH: one that is there"
            raise Trouble(f"{self._location} has no {self._ref}; wanted: {wanted}", Exit.SOURCE)
        return found[0]

    def export(self, revision: str, target: Path) -> None:
        """Fetch that one commit and write its files."""
        target.mkdir(parents=True)
        with TemporaryDirectory(dir=target.parent, prefix=".git-") as directory:
            git = ("--git-dir", directory)
            _git(*git, "init", "--quiet", "--bare")
            _git(*git, "fetch", "--quiet", "--depth=1", "--", self._location, self._ref)
            fetched = _git(*git, "rev-parse", "FETCH_HEAD").strip()
            if fetched != revision:
                text = f"{self._ref} moved on to {fetched} meanwhile; the next run takes that"
                raise Trouble(text, Exit.SOURCE)
            _git(*git, "--work-tree", target, "checkout", "--quiet", "--force", revision, "--", ".")


class Directory:
    """A directory that something else keeps up to date; a revision is named by its content."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def revision(self) -> str:
        """Hash names, execute bits and contents."""
        return _revision_of(self._path)

    def export(self, revision: str, target: Path) -> None:
        """Copy the files; raises Trouble where they have changed meanwhile."""
        target.mkdir(parents=True)
        for path in _files(self._path):
            copy = target / path.relative_to(self._path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        if _revision_of(target) != revision:
            text = f"{self._path} changed while it was copied; the next run takes it"
            raise Trouble(text, Exit.SOURCE)


def _revision_of(tree: Path) -> str:
    digest = sha256()
    try:
        for path in _files(tree):
            executable = bool(path.stat().st_mode & stat.S_IXUSR)
            content = sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(tree)}\0{executable}\0{content}\n".encode())
    except OSError as error:
        raise Trouble(f"{tree} cannot be read: {error}", Exit.SOURCE) from None
    return f"tree-{digest.hexdigest()[:40]}"


def _files(tree: Path) -> Iterator[Path]:
    """List the files in a fixed order, without what builds and editors leave behind."""
    for directory, names, files in os.walk(tree):
        names[:] = sorted(name for name in names if not _is_rubbish(name))
        for name in sorted(files):
            if not _is_rubbish(name):
                yield Path(directory, name)


def _is_rubbish(name: str) -> bool:
    return name.startswith(".") or name in _NOT_COPIED or name.endswith((".egg-info", ".sqlite"))
