"""The sandbox and a guard in front of it as one service: `twistd -n lotus-guard --sandbox`."""

import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.endpoints import serverFromString

from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.run.address import listening
from lotus_guard.run.config import Config, read_config
from lotus_guard.run.services import GuardService
from lotus_guard.run.start import make_service
from lotus_guard.sandbox.generation import RUST
from lotus_guard.sandbox.life import AskToken, Life, move_in, token_asker
from lotus_guard.sandbox.life_service import LifeService
from lotus_guard.sandbox.ports import Ports
from lotus_guard.sandbox.site import sandbox_site
from lotus_guard.sandbox.stack import Addresses, Sandbox
from lotus_guard.sandbox.welcome import Entrances, welcome

SEED = 11
"""With it a room is full, and a screen shared, before all have arrived."""
LISTEN, ADMIN_LISTEN = "LOTUS_GUARD_LISTEN", "LOTUS_GUARD_ADMIN_LISTEN"
HOMESERVER_LISTEN = "LOTUS_GUARD_HOMESERVER_LISTEN"
_OWN = {
    LISTEN: (8070, "the guard"),
    ADMIN_LISTEN: (8072, "the status page"),
    HOMESERVER_LISTEN: (8069, "the homeserver's port"),
}
"""The guard's ports: the usual one, and what listens there."""


def make_sandbox_service(
    reactor: Any, environment: Mapping[str, str], is_quiet: bool = False, ports: Ports | None = None
) -> Any:
    """Make the service; what the environment says to the guard goes before the sandbox's own.

    Where `is_quiet`, nobody comes and goes. Raises Faulty for a faulty environment.
    """
    ports = ports or Ports()
    agent = pooled_agents(reactor).upstream
    sandbox = Sandbox(agent, time.time, _addresses(ports))
    sandbox.authorization.generation = RUST  # the one that can stand behind a homeserver
    config = _config(reactor, sandbox, environment, ports)
    behind = listening(config.homeserver_listen)
    if behind is not None:
        sandbox.behind(behind.url)
    service = GuardService(config.log_format, config.log_level)
    for address, resource in sandbox.resources().items():
        port = address.rpartition(":")[2]
        endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
        part = StreamServerEndpointService(endpoint, sandbox_site(resource))
        part._raiseSynchronously = True
        part.setServiceParent(service)
    make_service(config, reactor).setServiceParent(service)
    public = listening(config.listen)
    is_quiet = is_quiet or public is None
    if public is not None and not is_quiet:
        _life(reactor, sandbox, token_asker(agent, public.url)).setServiceParent(service)
    _say(config, sandbox.addresses, ports, is_quiet)
    return service


def _addresses(ports: Ports) -> Addresses:
    """Where the sandbox's own parts listen."""
    usual = {"authorization": "lk-jwt-service", "livekit": "LiveKit", "synapse": "Synapse"}
    found = {}
    for number, (field, name) in enumerate(usual.items(), 8171):
        port = ports.port(number, f"the sandbox's {name}")
        found[field] = f"http://127.0.0.1:{port}"
    return Addresses(**found)


def _config(reactor: Any, sandbox: Sandbox, environment: Mapping[str, str], ports: Ports) -> Config:
    """Read the settings; what is remembered goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="lotus-guard-sandbox-"))
    reactor.addSystemEventTrigger("after", "shutdown", shutil.rmtree, folder, True)
    listen = {
        name: ports.endpoint(*usual, name)
        for name, usual in _OWN.items()
        if name not in environment
    }
    own = {**sandbox.environment(), "LOTUS_GUARD_STATE": str(folder / "state.sqlite"), **listen}
    return read_config({**own, **environment})


def _life(reactor: Any, sandbox: Sandbox, ask: AskToken) -> LifeService:
    move_in(sandbox.homeserver)
    random = Random(SEED)  # noqa: S311  (nothing is secret about it)
    return LifeService(reactor, Life(sandbox.sfu, ask, random), random)


def _say(config: Config, addresses: Addresses, ports: Ports, is_quiet: bool) -> None:
    """Print the welcome: to standard error where the log takes standard output for JSON."""
    public, admin = listening(config.listen), listening(config.admin_listen)
    guard, operators = public.url if public else config.listen, admin.url if admin else None
    program = Path(sys.argv[0]).with_name("lotus-guard")
    command = str(program) if program.exists() else program.name
    text = welcome(Entrances(guard, operators, command, is_quiet), addresses)
    out = sys.stderr if config.log_format == "json" else sys.stdout
    out.write("".join(f"{line}\n" for line in ports.taken) + text)
    out.flush()
