"""Where a revision comes from: a branch of a git remote, or a directory."""

import os
import shutil
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Never, Protocol
from urllib.parse import urlsplit

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
        raise Trouble(f"SOURCE is {location!r}; expected a git remote or a directory", Exit.USAGE)
    path = Path(location)
    if path.is_dir() and not (path / ".git").exists() and not (path / "objects").is_dir():
        return Directory(path)
    if _has_credentials(location):
        text = "SOURCE has a user or a password in it, which everybody on this host could see (ps) "
        text += "and the journal would keep. Fix: use only the address, and an ssh key or git's "
        text += "credential store (docs/deploying.md)"
        raise Trouble(text, Exit.USAGE)
    if not branch or branch.startswith(("-", "/")) or ".." in branch:
        raise Trouble(f"BRANCH is {branch!r}; expected the name of a branch", Exit.USAGE)
    return Git(location, f"refs/heads/{branch}")


def _has_credentials(location: str) -> bool:
    """Return whether an address has a password, or, for the web, a user, which may be a token."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return False
    return parts.password is not None or (parts.scheme[:4] == "http" and "@" in parts.netloc)


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
        # git compares ends: a branch `a/refs/heads/main`, of whoever, is among what it lists.
        for line in listed.splitlines():
            commit, _, name = line.partition("\t")
            if name == self._ref:
                return commit
        wanted = "BRANCH: one that is there"
        raise Trouble(f"{self._location} has no {self._ref}; expected {wanted}", Exit.SOURCE)

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
        """Hash names, execute bits and contents; raises Trouble where anybody may change them."""
        revision = _revision_of(self._path)
        _demand_no_strangers(self._path)
        return revision

    def export(self, revision: str, target: Path) -> None:
        """Copy the files; raises Trouble where they have changed meanwhile."""
        target.mkdir(parents=True)
        try:
            for path in _files(self._path):
                copy = target / path.relative_to(self._path)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
                copy.chmod(0o755 if _is_executable(path) else 0o644)  # as git would, whatever it is
        except OSError as error:
            raise Trouble(f"{self._path} cannot be copied: {error}", Exit.SOURCE) from None
        if _revision_of(target) != revision:
            text = f"{self._path} changed while it was copied; the next run takes it"
            raise Trouble(text, Exit.SOURCE)


def _revision_of(tree: Path) -> str:
    digest = sha256()
    try:
        for path in _files(tree):
            content = sha256(path.read_bytes()).hexdigest()
            line = f"{path.relative_to(tree)}\0{_is_executable(path)}\0{content}\n"
            digest.update(line.encode(errors="surrogateescape"))
    except OSError as error:
        raise Trouble(f"{tree} cannot be read: {error}", Exit.SOURCE) from None
    return f"tree-{digest.hexdigest()[:40]}"


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IXUSR)


def _demand_no_strangers(tree: Path) -> None:
    """Raise Trouble where everybody on this host could write what root is to run."""
    there = set(_files(tree))
    for path in sorted(there | {path.parent for path in there}):
        if path.stat().st_mode & stat.S_IWOTH:
            text = f"everybody can write to {path}, and root will run what is there. Fix: "
            raise Trouble(f"{text}chmod -R o-w {tree}, after checking it", Exit.SOURCE)


def _files(tree: Path) -> Iterator[Path]:
    """List the files in a fixed order, without what builds and editors leave behind.

    Raises OSError where a directory cannot be read: half a tree is none. Pipes, sockets and links
    that lead nowhere are no files.
    """
    for directory, names, files in os.walk(tree, onerror=_raise):
        names[:] = sorted(name for name in names if not _is_rubbish(name))
        for name in sorted(files):
            path = Path(directory, name)
            if not _is_rubbish(name) and path.is_file():
                yield path


def _raise(error: OSError) -> Never:
    raise error


def _is_rubbish(name: str) -> bool:
    return name.startswith(".") or name in _NOT_COPIED or name.endswith((".egg-info", ".sqlite"))
