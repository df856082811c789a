"""The twistd face: `twistd -n lotus-guard`."""

import os
import sys

from twisted.application.service import IService
from twisted.python.usage import Options as UsageOptions

from lotus_guard.run.config import Config, Faulty, help_text, read_config
from lotus_guard.run.hangup import Hangups
from lotus_guard.run.start import make_service
from lotus_guard.run.worker_role import own_environment

# What the sandbox provides; only there so that the rest of the environment can be checked.
SANDBOX_ENVIRONMENT = {
    "LIVEKIT_URL": "ws://127.0.0.1:8172",
    "LIVEKIT_KEY": "sandbox",
    "LIVEKIT_SECRET": "sandbox",
    "LOTUS_GUARD_SYNAPSE_URL": "http://127.0.0.1:8173",
    "LOTUS_GUARD_SYNAPSE_TOKEN": "sandbox",
}


class Options(UsageOptions):
    """Command line of the plugin: nearly everything comes from the environment."""

    synopsis = "twistd [twistd options] lotus-guard [--sandbox]"
    longdesc = (
        "Fail-open guard in front of lk-jwt-service. Reads its configuration from the "
        "environment:\n\n" + help_text()
    )
    optFlags = [  # noqa: RUF012  (twisted.python.usage wants a list)
        ["sandbox", None, "Run with an embedded Synapse, LiveKit and lk-jwt-service to try it out"]
    ]
    config: Config | None = None
    hangups: Hangups | None = None

    def getUsage(self, width: int | None = None) -> str:
        """Describe the command line, and the variables line by line."""
        described, self.longdesc = self.longdesc, ""
        usage = super().getUsage(width)
        self.longdesc = described
        return f"{usage}\n{described}\n"

    def postOptions(self) -> None:
        """Read the environment; exit with 2 and every fault before anything listens."""
        try:
            if self["sandbox"]:
                read_config({**SANDBOX_ENVIRONMENT, **os.environ})
            else:
                self.hangups = Hangups()
                self.hangups.catch()  # before the files are read: one that comes later counts
                self.config = read_config(own_environment(os.environ))
        except Faulty as faulty:
            print("lotus-guard cannot start, its environment is faulty:", file=sys.stderr)
            for fault in faulty.faults:
                print(f"  {fault}", file=sys.stderr)
            print("See `twistd lotus-guard --help`.", file=sys.stderr)
            raise SystemExit(2) from None


def makeService(options: Options) -> IService:
    """Make the service that twistd starts."""
    from twisted.internet import reactor

    if options.config is None:
        from lotus_guard.sandbox.service import make_sandbox_service

        sandbox: IService = make_sandbox_service(reactor, os.environ)
        return sandbox
    service: IService = make_service(options.config, reactor, options.hangups)
    return service
