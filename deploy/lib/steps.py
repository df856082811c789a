"""One step after the other: each is said before it is done, and knows how to be undone."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from deploy.lib.host import Trouble, say

DIE_AFTER = "LOTUS_DEPLOY_DIE_AFTER"
"""For tests: kill -9 yourself after so many steps."""


ENDINGS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""How a person, a lost connection or systemd ends a command."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let nobody end this process, nor what it runs, half-way: also not a second Ctrl-C."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Walk:
    """Does steps; as a context manager, undoes them in reverse where one fails."""

    def __init__(self, dry: bool = False) -> None:
        self.dry = dry
        self._undoing: list[tuple[str, Callable[[], Any]]] = []
        self._count = 0
        self._last = int(os.environ.get(DIE_AFTER) or 0)

    def step(
        self,
        text: str,
        work: Callable[[], Any],
        undo: Callable[[], Any] | None = None,
        undoing: str = "",
    ) -> None:
        """Say what is done and do it; when dry, say it only.

        `undo` must be right for a step that got half-way as well.
        """
        say(f"{'would: ' if self.dry else ''}{text}")
        if self.dry:
            return
        if undo is not None:
            self._undoing.append((undoing, undo))
        work()
        self._count += 1
        if self._count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def keep(self) -> None:
        """Take what was done so far as final."""
        self._undoing.clear()

    def __enter__(self) -> "Walk":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None or not self._undoing:
            return
        with uninterrupted():
            say(f"failed: {error if isinstance(error, Trouble) else repr(error)}")
            while self._undoing:
                self._undo_one(*self._undoing.pop())

    def _undo_one(self, text: str, undo: Callable[[], Any]) -> None:
        say(f"undo: {text}")
        try:
            undo()
        except Exception as another:  # the other steps must be undone all the same
            say(f"  this could not be undone: {another}")
