"""The services that each process of ours has: the root of all, and what reports how it does."""

import sys
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python.components import Componentized

from lotus_guard.observe.log import JsonLines, ration_all, unration_all
from lotus_guard.run.systemd import Beats
from lotus_guard.version import VERSION

_log = Logger()


class GuardService(MultiService):
    """All of the guard's services; says how the log is to be written, if not as twistd does."""

    def __init__(self, log_format: str, log_level: str) -> None:
        super().__init__()
        self._log_format = log_format
        self.log_level = log_level

    def setServiceParent(self, parent: Any) -> None:
        """Hand the application its log observer, which twistd starts only after this."""
        if self._log_format == "json" and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, JsonLines(sys.stdout))
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Listen; a port that cannot be had ends the start, with a sentence and status 1.

        By now twistd has begun to write its log: no stranger shall fill it.
        """
        ration_all(globalLogPublisher, self.log_level)
        if not isinstance(self.parent, GuardService):  # the sandbox has the guard within its own
            _log.info("lotus-guard {version} is starting", version=VERSION)
        try:
            super().privilegedStartService()
        except (CannotListenError, OSError) as error:
            _log.critical(
                "lotus-guard can't listen: {error}. Is another guard running, or lk-jwt-service "
                "still on its old port? Fix: set LOTUS_GUARD_LISTEN, LOTUS_GUARD_ADMIN_LISTEN and "
                "LOTUS_GUARD_HOMESERVER_LISTEN to free ports on addresses of this machine.",
                error=str(error).removesuffix("."),
            )
            raise SystemExit(1) from None

    def stopService(self) -> Any:
        """Stop, and leave the log to twistd as it was."""
        stopped: Any = super().stopService()
        unration_all(globalLogPublisher)
        return stopped


class BeatService(Service):
    """Keeps systemd, or the supervisor of workers, informed while the guard runs."""

    def __init__(self, beats: Beats) -> None:
        self._beats = beats

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._beats.start()

    def stopService(self) -> None:
        """Report that we stop."""
        super().stopService()
        self._beats.stop()
