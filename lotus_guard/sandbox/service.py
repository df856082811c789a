"""The sandbox and a guard in front of it as one service: `twistd -n lotus-guard --sandbox`."""

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService
from twisted.internet.endpoints import serverFromString
from twisted.web.client import Agent

from lotus_guard.run.address import listening
from lotus_guard.run.config import read_config
from lotus_guard.run.start import make_service
from lotus_guard.sandbox.generation import RUST
from lotus_guard.sandbox.site import sandbox_site
from lotus_guard.sandbox.stack import Sandbox, welcome

HOMESERVER_LISTEN = "tcp:8069:interface=127.0.0.1"


def make_sandbox_service(reactor: Any, environment: Mapping[str, str]) -> Any:
    """Make the service; what the environment says to the guard goes before the sandbox's own."""
    sandbox = Sandbox(Agent(reactor), time.time)
    sandbox.authorization.generation = RUST  # the one that can stand behind a homeserver
    state = Path(tempfile.mkdtemp(prefix="lotus-guard-sandbox-")) / "state.sqlite"
    settings = {
        **sandbox.environment(),
        "LOTUS_GUARD_STATE": str(state),
        "LOTUS_GUARD_HOMESERVER_LISTEN": HOMESERVER_LISTEN,
        **environment,
    }
    config = read_config(settings)
    behind = listening(config.homeserver_listen)
    if behind is not None:
        sandbox.behind(behind.url)
    service = MultiService()
    for address, resource in sandbox.resources().items():
        port = address.rpartition(":")[2]
        endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
        part = StreamServerEndpointService(endpoint, sandbox_site(resource))
        part._raiseSynchronously = True
        part.setServiceParent(service)
    make_service(config, reactor).setServiceParent(service)
    public, admin = listening(config.listen), listening(config.admin_listen)
    guard, operators = public.url if public else config.listen, admin.url if admin else None
    sys.stdout.write(welcome(guard, operators, sandbox.addresses))
    sys.stdout.flush()
    return service
