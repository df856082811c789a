"""The twistd face: `twistd -n lotus-guard`."""

import os
import sys
from typing import TYPE_CHECKING

from twisted.application.service import IService
from twisted.python.usage import Options as UsageOptions

from lotus_guard.run.hangup import Hangups
from lotus_guard.run.openssl import leave_out, wants_tls
from lotus_guard.version import VERSION

if TYPE_CHECKING:  # whatever is imported within functions: by then it is known whether to leave out
    from lotus_guard.run.config import Config  # OpenSSL, which all of it would load

# What the sandbox provides; only there so that the rest of the environment can be checked.
SANDBOX_ENVIRONMENT = {
    "LIVEKIT_URL": "ws://127.0.0.1:8172",
    "LIVEKIT_KEY": "sandbox",
    "LIVEKIT_SECRET": "sandbox",
    "LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:8173",
    "LOTUS_GUARD_SYNAPSE_TOKEN": "sandbox",
}
DESCRIPTION = (
    "A fail-open guard in front of lk-jwt-service: enforces per-room call limits and media rules.\n"
    "All settings are environment variables; the default is in brackets:"
)


class Options(UsageOptions):
    """Command line of the plugin: all settings come from the environment."""

    synopsis = "[--sandbox | --quiet-sandbox]"
    optFlags = [  # noqa: RUF012  (twisted.python.usage wants a list)
        [
            "sandbox",
            None,
            "Run in front of small built-in stand-ins for Synapse, LiveKit and lk-jwt-service",
        ],
        ["quiet-sandbox", None, "The same, without made-up people who come and go in its rooms"],
    ]
    config: "Config | None" = None
    hangups: Hangups | None = None

    def getUsage(self, width: int | None = None) -> str:
        """Describe the command line, and each setting.

        An installation asks for this to see whether the guard can be loaded: so all of it is.
        """
        from lotus_guard.run import start  # noqa: F401
        from lotus_guard.run.config import variables
        from lotus_guard.run.setting import help_of

        return f"{super().getUsage(width)}\n{DESCRIPTION}\n\n{help_of(variables())}\n"

    def opt_version(self) -> None:
        """Display the version of lotus-guard and exit."""
        print(f"lotus-guard {VERSION}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Read the environment; exit with 2 and every fault before anything listens."""
        self["sandbox"] = self["sandbox"] or self["quiet-sandbox"]
        if not self["sandbox"]:
            self.hangups = Hangups()
            self.hangups.catch()  # before the files are read: one that comes later counts
            if not wants_tls(os.environ):
                leave_out()
        from lotus_guard.run.setting import Faulty

        try:
            self._read()
        except Faulty as faulty:
            print("lotus-guard cannot start because its settings are wrong:", file=sys.stderr)
            for fault in faulty.faults:
                print(f"  {fault}", file=sys.stderr)
            print("`twistd lotus-guard --help` lists all settings.", file=sys.stderr)
            raise SystemExit(2) from None

    def _read(self) -> None:
        """Read the environment, or with the sandbox only check it; raises Faulty."""
        from lotus_guard.run.config import read_config
        from lotus_guard.run.worker_role import own_environment

        if self["sandbox"]:
            read_config({**SANDBOX_ENVIRONMENT, **os.environ})
        else:
            self.config = read_config(own_environment(os.environ))


def makeService(options: Options) -> IService:
    """Make the service that twistd starts."""
    from twisted.internet import reactor

    from lotus_guard.run.start import make_service

    if options.config is None:
        from lotus_guard.sandbox.service import make_sandbox_service

        sandbox: IService = make_sandbox_service(
            reactor, os.environ, bool(options["quiet-sandbox"])
        )
        return sandbox
    service: IService = make_service(options.config, reactor, options.hangups)
    return service
