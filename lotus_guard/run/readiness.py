"""When the guard may say that it is ready."""

from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Service
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from lotus_guard.core.probe import FIELD, HEADER, sign_probe
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.agents import Agents
from lotus_guard.neighbours.http import Http
from lotus_guard.run.address import bracketed
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.cluster import Cluster
from lotus_guard.run.config import Config
from lotus_guard.run.systemd import Reporter

_log = Logger()


class Readiness(Service):
    """Reports that the guard is ready once its public port answers."""

    def __init__(
        self,
        config: Config,
        clocks: Clocks,
        agents: Agents,
        public: StreamServerEndpointService,
        reporter: Reporter,
        homeserver: StreamServerEndpointService | None = None,
    ) -> None:
        self._config = config
        self._clocks = clocks
        self._http = Http(agents.upstream, clocks.reactor)
        self._public = public
        self._reporter = reporter
        self._homeserver = homeserver

    def startService(self) -> None:
        """Begin to ask our own port."""
        super().startService()
        ensureDeferred(self._wait()).addErrback(
            lambda failure: _log.failure("Could not report readiness", failure)
        )

    async def _wait(self) -> None:
        url = await _url_of(self._public)
        while self.running and url and not await self._answers(url):
            await deferLater(self._clocks.reactor, 0.1, lambda: None)
        if self.running:
            _log.info(
                "lotus-guard is ready on {address}, in front of {upstream}{homeserver}",
                address=url or self._config.listen,
                upstream=self._config.upstream,
                homeserver=await self._for_homeserver(),
            )
            self._reporter.ready()

    async def _for_homeserver(self) -> str:
        """What to say of the homeserver's port; nothing where there is none."""
        if self._homeserver is None:
            return ""
        said = f", and for the homeserver on {await _url_of(self._homeserver)}"
        if not self._config.credentials.hs_token.value:
            said += " (without its hs_token: anybody who can reach this port can ask)"
        return said

    async def _answers(self, url: str) -> bool:
        probe = sign_probe(self._config.secret, self._clocks.epoch())
        headers = {HEADER.encode("ascii"): probe.encode("ascii")}
        try:
            answer = await self._http.exchange(
                b"GET", f"{url}/".encode("ascii"), headers, None, seconds=2.0, most=4096
            )
        except Outage:
            return False
        return answer.status == 200 and FIELD.encode("ascii") in answer.body


async def _url_of(server: StreamServerEndpointService) -> str:
    """The URL of a server's port, as this machine reaches it; empty where it is no TCP port."""
    waiting: Any = server._waitingForPort
    port: Any = await waiting
    address = port.getHost()
    if not hasattr(address, "port"):
        return ""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    return f"http://{bracketed(host)}:{address.port}"


class WorkerReadiness(Service):
    """Reports that a worker is ready: it listens, and knows of the others.

    It does not ask its own port: the kernel would hand the question to any of the workers.
    """

    def __init__(self, reporter: Reporter, cluster: Cluster) -> None:
        self._reporter = reporter
        self._cluster = cluster

    def startService(self) -> None:
        """Wait for Redis, then report that we are ready."""
        super().startService()
        ensureDeferred(self._tell()).addErrback(
            lambda failure: _log.failure("Could not report readiness", failure)
        )

    async def _tell(self) -> None:
        if self._cluster.redis is not None:
            await self._cluster.redis.connected()
        self._reporter.ready()
