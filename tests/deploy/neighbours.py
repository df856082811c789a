"""The sandbox's Synapse and LiveKit as a process of their own, on the ports that are named.

python -m tests.deploy.neighbours LIVEKIT_PORT SYNAPSE_PORT REGISTRATION

The registration is read at the start, should it be there.
"""

import sys
import time
from pathlib import Path
from typing import Any

import yaml
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.web.client import Agent

from lotus_guard.sandbox.livekit import LiveKitApp
from lotus_guard.sandbox.site import sandbox_site
from lotus_guard.sandbox.stack import Addresses, Sandbox
from lotus_guard.sandbox.synapse import SynapseApp


def main(reactor: Any, livekit: str, synapse: str, registration: str) -> Deferred[None]:
    where = Addresses("http://127.0.0.1:1", *(f"http://127.0.0.1:{p}" for p in (livekit, synapse)))
    sandbox = Sandbox(Agent(reactor), time.time, where)
    if Path(registration).exists():
        fields = yaml.safe_load(Path(registration).read_text())
        sandbox.behind(fields["io.element.msc4512.proxy_url"])
    apps = ((livekit, LiveKitApp(sandbox.sfu)), (synapse, SynapseApp(sandbox.homeserver)))
    for port, fake in apps:
        reactor.listenTCP(int(port), sandbox_site(fake.app.resource()), interface="127.0.0.1")
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
