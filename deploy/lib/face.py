"""What both commands share: a lock, an orderly end, exit codes."""

import fcntl
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from deploy.lib.files import make_directory
from deploy.lib.host import Exit, Host, Trouble, say


class Ended(BaseException):
    """Somebody has asked this process to end."""


def guarded(work: Callable[[], None]) -> int:
    """Do the work and give the exit code; says what went wrong."""

    def end(number: int, _frame: Any) -> None:
        raise Ended(signal.Signals(number).name)

    os.umask(0o022)  # the guard runs as another user, who must be able to read its release
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end)
    try:
        work()
    except Trouble as trouble:
        say(str(trouble))
        return int(trouble.code)
    except Ended as why:
        say(f"ended by {why}; the next run continues from here")
        return int(Exit.NOT_NOW)
    except Exception:
        say(traceback.format_exc())
        say("this is a bug of the deployer, or a disk in trouble; nothing more was done")
        return int(Exit.BUG)
    return int(Exit.OK)


@contextmanager
def locked(host: Host) -> Iterator[None]:
    """Keep other deployers out; raises Trouble where one is at work."""
    make_directory(host.opt)
    with (host.opt / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble("another deployer is at work; wanted: patience", Exit.BUSY) from None
        yield
