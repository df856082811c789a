"""Makes the service that twistd runs: a guard, a worker, or the supervisor of several."""

import os
from typing import Any

from twisted.application.service import Service

from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.run.clocks import clocks_of, keep_steady
from lotus_guard.run.config import Config
from lotus_guard.run.fd_budget import fd_budget, most_files
from lotus_guard.run.guard import make_guard
from lotus_guard.run.hangup import Hangups
from lotus_guard.run.listeners import HOMESERVER, OPERATORS, PUBLIC, listener
from lotus_guard.run.live_service import LiveService
from lotus_guard.run.readiness import Readiness, WorkerReadiness
from lotus_guard.run.services import BeatService, GuardService
from lotus_guard.run.systemd import Beats, Reporter, handed_over, reporter_of
from lotus_guard.run.worker_role import Lifeline, role_of
from lotus_guard.run.workers import Fleet
from lotus_guard.web.door import DoorSite
from lotus_guard.web.operators import OperatorsSite


def make_service(config: Config, reactor: Any, hangups: Hangups | None = None) -> Any:
    """Make the service that twistd runs.

    `hangups` has the credentials read again; None where SIGHUP is somebody else's.
    """
    keep_steady(reactor)
    hangups = hangups or Hangups()
    role = role_of(os.environ)
    if role is not None or config.workers == 1:
        hangups.lead_to(reactor, config.credentials.reload)
    if role is not None:
        reactor.addReader(Lifeline(reactor))
        return make_guard_service(role.config(config), reactor, role.reporter, is_worker=True)
    reporter = reporter_of(os.environ, os.getpid())
    if config.workers == 1:
        return make_guard_service(config, reactor, reporter)
    return make_fleet_service(config, reactor, reporter, hangups)


def make_fleet_service(config: Config, reactor: Any, reporter: Reporter, hangups: Hangups) -> Any:
    """Make the service of the process that keeps several workers running."""
    service = GuardService(config.log_format, config.log_level)
    sockets = handed_over(os.environ, os.getpid())
    fleet = Fleet(reactor, config.workers, os.environ, sockets, reporter)
    fleet.setServiceParent(service)
    hangups.lead_to(reactor, fleet.reload)
    beats = Beats(reporter, lambda: True, fleet.status, reactor)
    BeatService(beats).setServiceParent(service)
    return service


def make_guard_service(
    config: Config, reactor: Any, reporter: Reporter, is_worker: bool = False
) -> Any:
    """Make the service of one guard; reads the state file."""
    clocks, agents = clocks_of(reactor), pooled_agents(reactor)
    guard = make_guard(config, clocks, agents, fd_budget(most_files()))
    guard.memory.open()
    guard.memory.cluster.start(guard.hints)
    service = GuardService(config.log_format, config.log_level)
    sockets = dict(reversed(handed_over(os.environ, os.getpid())))
    site = DoorSite(guard.public.door, guard.public.connections)
    public = listener(reactor, PUBLIC, config.listen, site, sockets, is_shared=is_worker)
    public.setServiceParent(service)
    homeserver = None
    if config.homeserver_listen or HOMESERVER in sockets:
        site = DoorSite(guard.homeserver.door, guard.homeserver.connections)
        wanted = config.homeserver_listen
        homeserver = listener(reactor, HOMESERVER, wanted, site, sockets, is_worker)
        homeserver.setServiceParent(service)
    if config.admin_listen or OPERATORS in sockets:
        operators = OperatorsSite(guard.operators)
        wanted = config.admin_listen
        listener(reactor, OPERATORS, wanted, operators, sockets).setServiceParent(service)
    live = LiveService(guard, config, clocks, agents)
    live.setServiceParent(service)
    ready: Service = (
        WorkerReadiness(reporter, guard.memory.cluster)
        if is_worker
        else Readiness(config, clocks, agents, public, reporter, homeserver)
    )
    ready.setServiceParent(service)
    beats = Beats(reporter, live.is_turning, live.status, reactor)
    BeatService(beats).setServiceParent(service)
    return service
