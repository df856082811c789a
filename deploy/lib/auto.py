"""`deploy/auto-deploy`: bring the host to what the deployment branch says."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.lib import probe
from deploy.lib.build import build, whose_fault
from deploy.lib.deployment import Deployment
from deploy.lib.face import guarded, locked
from deploy.lib.host import GUARD, Exit, Host, Trouble, run, say
from deploy.lib.releases import Releases
from deploy.lib.settings import Settings, read_settings
from deploy.lib.source import Source, source_of
from deploy.lib.steps import Walk


def deploy(host: Host, source: Source, settings: Settings, walk: Walk) -> None:
    """Bring the host to what the source has; raises Trouble where that did not come about."""
    releases, deployment = Releases(host), Deployment(host, settings, walk)
    deployment.settle()
    for name in releases.tidy(settings.keep):
        say(f"removed: {name}")
    revision = source.revision()
    if revision == releases.current:
        say(f"{revision} runs; nothing to do")
        return
    why = releases.refused(revision)
    if why is not None:
        say(f"{revision} was refused before, and is not tried again (--retry): {why}")
        return
    say(f"{releases.current} runs, the source has {revision}")
    service = deployment.service()
    if not probe.is_upstream(service.upstream):
        text = f"lk-jwt-service does not answer at {service.upstream}: not deploying now"
        raise Trouble(text, Exit.NOT_NOW)
    try:
        build(host, source, revision, settings.free_mb, walk)
        _gate_of_the_deployer(releases.directory(revision), walk)
        deployment.gates(revision)
    except Trouble as found:
        trouble = whose_fault(found, releases.free_mb, settings.free_mb)
        if trouble.code is Exit.REFUSED:
            releases.refuse(revision, str(trouble))
            releases.remove(revision)
        raise trouble from None
    deployment.switch(revision)
    for name in releases.tidy(settings.keep):
        say(f"removed: {name}")
    _name_other_units(host, releases.directory(revision) / "source/systemd")


def _gate_of_the_deployer(release: Path, walk: Walk) -> None:
    """Make sure that the release's own deployer starts: the next one must come through it."""
    script = release / "source/deploy/auto-deploy"
    walk.step("test: the release's own deployer starts", lambda: run([script, "--help"]))


def _name_other_units(host: Host, units: Path) -> None:
    """Say which units only deploy/install would bring up to date."""
    for path in sorted(units.rglob("*.*")):
        there = host.units / path.relative_to(units)
        if path.name == GUARD or not path.is_file() or not there.exists():
            continue
        if path.read_bytes() != there.read_bytes():
            say(f"note: {there} is not the release's; deploy/install brings it up to date")


def status(host: Host) -> None:
    """Say what runs and what was refused."""
    releases = Releases(host)
    pending = releases.pending
    say(f"in place: {'yes' if host.is_in_place else 'no'}")
    say(f"current: {releases.current}")
    say(f"previous: {releases.previous}")
    say(f"pending: {pending.revision if pending else None}")
    for mark in sorted((host.opt / "refused").glob("*")):
        why = (releases.refused(mark.name) or "").splitlines() or [""]
        say(f"refused: {mark.name}: {why[0]}")


def _work(options: argparse.Namespace, environment: Mapping[str, str]) -> None:
    host = Host.of(options.root, environment)
    if options.status:
        status(host)
        return
    host.demand_systemctl()
    settings = read_settings(host, environment)
    if not host.is_in_place:
        say("the guard is not in place (deploy/install does that): nothing to do")
        return
    if Releases(host).current is None:
        raise Trouble("no release is installed. Fix: run deploy/install first", Exit.USAGE)
    source = source_of(settings.source, settings.branch)
    with locked(host):
        if options.retry:
            for name in Releases(host).forgive():
                say(f"may be tried again: {name}")
        deploy(host, source, settings, Walk())


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run the command; gives its exit code."""
    parser = argparse.ArgumentParser(prog="auto-deploy", description=__doc__)
    parser.add_argument("--root", default="/", help="use this directory as the root, for testing")
    parser.add_argument("--status", action="store_true", help="print what runs, and change nothing")
    parser.add_argument("--retry", action="store_true", help="forget which revisions were refused")
    return guarded(lambda: _work(parser.parse_args(arguments), environment))
