"""Files that are there as a whole or not at all, also after a power cut."""

import os
import stat
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Bring a directory's entries to the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directory(directory: Path, mode: int = 0o755) -> None:
    """Make a directory with those above it; one that is there stays as it is."""
    if not directory.is_dir():
        directory.mkdir(parents=True, mode=mode)
        sync_directory(directory.parent)


def write(
    path: Path,
    content: str | bytes,
    mode: int = 0o644,
    owner: tuple[int, int] | None = None,
) -> None:
    """Put a file in place of the one that is there, in one rename; nobody sees it half-written.

    `owner` is a user and a group, by number; ours if none is named.
    """
    make_directory(path.parent)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            if owner:
                os.fchown(handle, *owner)
            os.fchmod(handle, mode)  # whatever the umask is
            file.write(data)
            file.flush()
            os.fsync(handle)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)  # on a full disk half a file is one too many
        raise
    sync_directory(path.parent)


def rewrite(path: Path, content: str | bytes, mode: int) -> None:
    """Write a file anew: one that is there keeps its owner and mode, a link leads where it led."""
    path = path.resolve()
    if not path.exists():
        write(path, content, mode)
        return
    found = path.stat()
    write(path, content, stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))


def remove(path: Path) -> None:
    """Remove a file, should it be there."""
    if path.exists() or path.is_symlink():
        path.unlink()
        sync_directory(path.parent)


def point(link: Path, target: str) -> None:
    """Let a link point elsewhere, in one rename: it leads somewhere at every moment."""
    beside = link.with_name(f".{link.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)
    sync_directory(link.parent)


def read(path: Path) -> bytes | None:
    """Read a file; None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
