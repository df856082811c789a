"""What both commands share: a lock, an orderly end, exit codes."""

import fcntl
import io
import os
import signal
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.lib.files import make_directory
from deploy.lib.host import Exit, Host, Trouble, say
from deploy.lib.steps import ENDINGS


class Ended(BaseException):
    """Somebody has asked this process to end."""


def guarded(work: Callable[[], None]) -> int:
    """Do the work and give the exit code; says what went wrong."""

    def end(number: int, _frame: Any) -> None:
        for each in ENDINGS:  # once is enough: what is undone then must not be broken off
            signal.signal(each, signal.SIG_IGN)
        raise Ended(signal.Signals(number).name)

    os.umask(0o022)  # the guard runs as another user, who must be able to read its release
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a command wrote, in any locale
    for number in ENDINGS:
        signal.signal(number, end)
    try:
        work()
    except Trouble as trouble:
        say(str(trouble))
        return int(trouble.code)
    except Ended as why:
        say(f"interrupted by {why}; the next run continues from here")
        return int(Exit.NOT_NOW)
    except Exception:
        say(traceback.format_exc())
        say("this is a bug in the deployer, or a disk problem; nothing more was done")
        return int(Exit.BUG)
    return int(Exit.OK)


@contextmanager
def locked(host: Host) -> Iterator[None]:
    """Keep other deployers out; raises Trouble where one is at work, or others could meddle.

    The commands that are run inherit the lock: where this process is killed, its pip may go on for
    a while, and nobody else works on that release until it has ended, too.
    """
    demand_root(host, os.geteuid())
    make_directory(host.opt)
    for directory in (host.opt, host.environment_file.parent):
        demand_ownership(directory, os.geteuid())
    with (host.opt / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(
                "another deployer is running; wait until it has finished", Exit.BUSY
            ) from None
        os.set_inheritable(file.fileno(), True)
        yield


def demand_root(host: Host, user: int) -> None:
    """Raise Trouble where a user works on this very machine who is not root."""
    if host.root == Path("/") and user != 0:
        raise Trouble("only root can change units. Fix: use sudo", Exit.USAGE)


def demand_ownership(directory: Path, user: int) -> None:
    """Raise Trouble where others could change what root runs from a directory.

    `user` is who runs this: root, but on a scratch root.
    """
    if not directory.exists():
        return
    found = directory.stat()
    if found.st_uid not in (0, user) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        text = f"users other than root can write to {directory}, and root runs what is there. Fix: "
        text += f"chown root: {directory} && chmod go-w {directory}, after checking what is in it"
        raise Trouble(text, Exit.USAGE)
