"""All checks, in the order of the report; one that fails never keeps the others from it."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import ensureDeferred, gatherResults

from lotus_guard.check import (
    application_service,
    clocks,
    guard,
    homeserver,
    homeserver_port,
    livekit,
    livekit_file,
    openid,
    public,
    public_panel,
    redis,
    state,
    synapse,
    upstream,
    upstream_version,
    user,
    webhooks,
)
from lotus_guard.check.context import CheckContext
from lotus_guard.check.finding import Finding, fault, ok, warning
from lotus_guard.check.livekit_file import LiveKitFile
from lotus_guard.enforce.credentials import EXPECTED
from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.run.config import Config, Faulty, read_config

SETTINGS = "settings"
SECONDS = 60.0
"""After so long a check is given up; its exchanges have deadlines of their own, far shorter."""


@frozen
class Check:
    """One check that asks others, and the name of its finding where it breaks."""

    name: str
    work: Callable[[CheckContext], Coroutine[Any, Any, list[Finding]]]


ONLINE = (
    Check(upstream.UPSTREAM, upstream.check_upstream),
    Check(upstream.EXPOSED, upstream.check_from_outside),
    Check(upstream_version.NAME, upstream_version.check_version),
    Check(livekit.API, livekit.check_api),
    Check(livekit.AUTO_CREATE, livekit.check_auto_create),
    Check(synapse.SYNAPSE, synapse.check_synapse),
    Check(application_service.TOKEN, application_service.check_application_service),
    Check(clocks.NAME, clocks.check_clocks),
    Check(guard.GUARD, guard.check_guard),
    Check(webhooks.NAME, webhooks.check_webhooks),
    Check(public.ROUTE, public.check_public_address),
    Check(public_panel.NAME, public_panel.check_public_panel),
    Check(openid.NAME, openid.check_openid),
    Check(redis.NAME, redis.check_redis),
    Check(user.KEY, user.check_as_user),
    Check(homeserver_port.TOKEN, homeserver_port.check_believed),
    Check(homeserver.WAY, homeserver.check_homeserver),
)


@frozen
class OfflineReport:
    """What can be seen without asking anybody."""

    findings: list[Finding]
    config: Config | None
    """None where the environment is faulty: nothing more can be checked."""
    livekit_file: LiveKitFile | None = None


def check_offline(
    environment: Mapping[str, str], livekit_config: Path | None, epoch: float
) -> OfflineReport:
    """Check the environment, the state file and LiveKit's file; nothing on the network."""
    try:
        config = read_config(environment)
    except Faulty as faulty:
        return OfflineReport([_of_environment(line) for line in faulty.faults], None)
    findings = [
        ok(SETTINGS, "the configuration is valid"),
        *upstream.check_address(config),
        *guard.check_exposure(config),
        *homeserver_port.check_exposure(config),
        *_attempt(state.SECRETS, lambda: state.check_secret_files(environment)),
    ]
    if config.redis is None:
        path = config.state
        findings += _attempt(state.STATE, lambda: state.check_state_file(path))
        findings += _attempt(state.ONE, lambda: state.check_other_guards(path, epoch))
    file: LiveKitFile | None = None
    if livekit_config is not None:
        try:
            file = livekit_file.read_livekit_file(livekit_config)
            findings.append(livekit_file.check_file(file, config.key, config.secret))
        except livekit_file.UnusableFile as why:
            findings.append(livekit_file.unusable(why))
        except Exception as failure:
            findings.append(_broken(livekit_file.NAME, failure))
    return OfflineReport(findings, config, file)


async def check_online(context: CheckContext) -> list[Finding]:
    """Make all checks that ask others, at the same time; the findings come in a fixed order."""
    return await run_checks(ONLINE, context)


async def run_checks(checks: Iterable[Check], context: CheckContext) -> list[Finding]:
    """Make these checks at the same time; what breaks in one is its own finding."""
    works = [ensureDeferred(_bounded(check, context)) for check in checks]
    return [finding for found in await gatherResults(works) for finding in found]


async def _bounded(check: Check, context: CheckContext) -> list[Finding]:
    try:
        return await with_timeout(SECONDS, context.clocks.reactor, check.work(context))
    except Exception as failure:  # a bug of ours must not hide what the others have seen
        return [_broken(check.name, failure)]


def _attempt(name: str, check: Callable[[], Finding]) -> list[Finding]:
    """Make a check; what breaks in it is its finding."""
    try:
        return [check()]
    except Exception as failure:
        return [_broken(name, failure)]


def _broken(name: str, failure: Exception) -> Finding:
    seen = f"the check failed: {type(failure).__name__}"
    return warning(name, seen, "report this line as a bug")


def _of_environment(line: str) -> Finding:
    seen, _, wanted = line.partition(EXPECTED)
    name = line.partition(":")[0]
    return fault(
        SETTINGS, seen, f"{name} expects {wanted}" if wanted else f"correct the name {name}"
    )
