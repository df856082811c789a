"""All looks together, in the order of the report; one that fails never keeps the others from it."""

import socket
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import ensureDeferred, gatherResults

from lotus_guard.check import clocks, guard, livekit, public, redis, state, synapse, upstream, user
from lotus_guard.check import webhooks as hooks
from lotus_guard.check.ask import CheckContext
from lotus_guard.check.finding import Finding, fault, ok, warning
from lotus_guard.check.livekit_file import (
    NAME,
    LiveKitFile,
    Unusable,
    look_at_file,
    read_livekit_file,
)
from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.run.address import is_loopback
from lotus_guard.run.config import Config, Faulty, read_config

ENVIRONMENT = "environment"
SECONDS = 60.0
"""After so long a look is given up; its exchanges have deadlines of their own, far shorter."""


@frozen
class Look:
    """One look, and the name of what it cannot tell where it fails."""

    name: str
    work: Callable[[], Coroutine[Any, Any, list[Finding]]]


@frozen
class OfflineReport:
    """What can be seen without asking anybody."""

    findings: list[Finding]
    config: Config | None
    """None where the environment is faulty: nothing more can be looked at."""
    file: LiveKitFile | None = None


def look_still(
    environment: Mapping[str, str], livekit_config: Path | None, epoch: float
) -> OfflineReport:
    """Look at the environment, the state file and LiveKit's file; nothing on the network."""
    try:
        config = read_config(environment)
    except Faulty as faulty:
        return OfflineReport([_of_environment(line) for line in faulty.faults], None)
    findings = [
        ok(ENVIRONMENT, "every variable is as it should be"),
        *upstream.look_at_address(config),
        *guard.look_at_exposure(config),
        *_tried(state.SECRETS, lambda: [state.look_at_secret_files(environment)]),
    ]
    if config.redis is None:
        path = config.state
        findings += _tried(state.STATE, lambda: [state.look_at_state_file(path)])
        findings += _tried(state.ONE, lambda: [state.look_for_other_guards(path, epoch)])
    file: list[LiveKitFile] = []
    if livekit_config is not None:
        where = livekit_config
        findings += _tried(NAME, lambda: _look_at_file(where, config, file))
    return OfflineReport(findings, config, file[0] if file else None)


def _look_at_file(path: Path, config: Config, found: list[LiveKitFile]) -> list[Finding]:
    try:
        found.append(read_livekit_file(path))
        return look_at_file(found[0], config.key, config.secret)
    except Unusable as why:
        return [warning(NAME, str(why), "--livekit-config: LiveKit's livekit.yaml")]


def _tried(name: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """Do a look; what breaks in it is its finding."""
    try:
        return look()
    except Exception as failure:
        return [_broken(name, failure)]


def _broken(name: str, failure: Exception) -> Finding:
    seen = f"could not look: {type(failure).__name__}"
    return warning(name, seen, "report it, with this line")


def _of_environment(line: str) -> Finding:
    seen, _, wanted = line.partition("; wanted: ")
    return fault(ENVIRONMENT, seen, f"{line.partition(':')[0]}: {wanted}")


def looks(means: CheckContext, file: LiveKitFile | None) -> list[Look]:
    """List the looks that ask others."""
    found = [
        Look(upstream.UPSTREAM, lambda: upstream.look_at_upstream(means)),
        Look(upstream.EXPOSED, lambda: upstream.look_from_outside(means)),
        Look(livekit.API, lambda: livekit.look_at_api(means)),
        Look(livekit.AUTO_CREATE, lambda: livekit.look_at_auto_create(means, file)),
        Look(synapse.SYNAPSE, lambda: synapse.look_at_synapse(means)),
        Look(clocks.NAME, lambda: clocks.look_at_clocks(means)),
        Look(guard.GUARD, lambda: guard.look_at_guard(means)),
        Look(hooks.NAME, lambda: hooks.look_at_webhooks(means, file)),
        Look(public.ROUTE, lambda: public.look_at_public_address(means)),
    ]
    address = means.config.redis
    if address is not None:
        word = address.password or means.config.credentials.redis.value
        address = evolve(address, password=word)
        found.append(Look(redis.NAME, lambda: redis.look_at_redis(address, means.clock)))
    if means.user_token:
        found.append(Look(user.KEY, lambda: user.look_as_user(means)))
    return found


async def look_around(means: CheckContext, file: LiveKitFile | None) -> list[Finding]:
    """Look at everything that answers; at the same time, told in a fixed order."""
    return await run(looks(means, file), means.clock)


async def run(wanted: list[Look], clock: Any) -> list[Finding]:
    """Do all of these at the same time; what breaks in one is its own finding."""
    works = [ensureDeferred(_bounded(look, clock)) for look in wanted]
    return [finding for found in await gatherResults(works) for finding in found]


async def _bounded(look: Look, clock: Any) -> list[Finding]:
    try:
        return await with_timeout(SECONDS, clock, look.work())
    except Exception as failure:  # a bug of ours must not hide what the others have seen
        return [_broken(look.name, failure)]


def own_addresses() -> tuple[str, ...]:
    """Find the addresses of this machine that others can reach it at; sends nothing.

    The one that a packet to far away would leave from, for each family: connecting a UDP socket
    only asks the routing table.
    """
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((far, 9))
                found.append(str(sock.getsockname()[0]))
        except OSError:  # no such family here, or no way out
            continue
    return tuple(address for address in found if not is_loopback(address))
