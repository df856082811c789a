"""SIGHUP: what is renewed while the guard runs is read again.

Twisted leaves this signal alone, and then it ends a process. So it is caught from the moment on
that twistd knows what it is to run; one that comes before the reactor turns is acted on then.
"""

import signal
from collections.abc import Callable
from typing import Any

from attrs import define, field


@define(eq=False)
class Hangups:
    """Catches SIGHUP and has something done for it, in the reactor and never twice at once."""

    _act: Callable[[], None] | None = field(default=None, init=False)
    _pending: bool = field(default=False, init=False)

    def catch(self) -> None:
        """Begin: from now on the signal ends nobody."""
        signal.signal(signal.SIGHUP, lambda _number, _frame: self.came())

    def came(self) -> None:
        """Take one; several that come before the first is acted on are one."""
        if not self._pending:
            self._pending = True
            if self._act is not None:
                self._act()

    def lead_to(self, reactor: Any, work: Callable[[], None]) -> None:
        """Have this done for each from now on, and for one that has come already."""

        def turn() -> None:
            self._pending = False
            work()

        def act() -> None:
            reactor.callFromThread(turn)  # what may be called from a signal's handler

        self._act = act
        if self._pending:
            act()
