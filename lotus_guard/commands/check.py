"""`lotus-guard check`: is the whole stack wired right?"""

import json
import os
import secrets
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click
import jwt
from attrs import asdict, evolve
from rich.console import Console
from rich.text import Text

from lotus_guard.adapters.http import Http
from lotus_guard.check.all import Still, look_around, look_still, own_addresses
from lotus_guard.check.ask import Means
from lotus_guard.check.finding import EXIT_CODES, Finding, Level, worst
from lotus_guard.check.livekit_file import LiveKitFile
from lotus_guard.commands.common import on_the_reactor
from lotus_guard.config import Config
from lotus_guard.service import Agents, Clocks

_STYLES = {
    Level.OK: "green",
    Level.NOTE: "dim",
    Level.WARNING: "bold yellow",
    Level.FAULT: "bold red",
}
_LEAST_HIDDEN = 8
"""Shorter secrets are not looked for in what is printed: they are in every other word."""


def _url(_context: click.Context, _option: click.Parameter, value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and value.isascii()
        parts.port  # noqa: B018  (raises ValueError for a port that is none)
    except ValueError:
        usable = False
    if value and (not usable or parts.query or parts.fragment or parts.username):
        raise click.BadParameter("wanted: https://host/prefix, as livekit_service_url has it")
    return value


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")
@click.option(
    "--offline",
    is_flag=True,
    help="Look at the environment and the state file only; nothing on the network.",
)
@click.option(
    "--public-url",
    default="",
    callback=_url,
    metavar="URL",
    help="Look at the public address too: livekit_service_url of .well-known/matrix/client.",
)
@click.option(
    "--as-user",
    default="",
    metavar="TOKEN",
    envvar="CHECK_USER_TOKEN",
    prompt="Access token of any user",
    prompt_required=False,
    hide_input=True,
    help="Get a call token as this user, to see that lk-jwt-service has our key. Without TOKEN "
    "it is asked for; also taken from $CHECK_USER_TOKEN, so that `ps` does not show it.",
)
@click.option(
    "--livekit-config",
    type=click.Path(path_type=Path),
    help="LiveKit's livekit.yaml, where it can be read.",
)
def check(
    as_json: bool, offline: bool, public_url: str, as_user: str, livekit_config: Path | None
) -> None:
    """Look at the whole stack and say what to change.

    Prints a line for each thing looked at: ok, note (not looked at, or not needed), warning, fault.
    Exits with 0 where nothing is wrong, 1 with warnings, 2 with faults. Calls are left alone: a
    LiveKit room that nobody is in is made and removed again.
    """
    # LiveKit says itself what it makes of a short secret; this is no place for a library's line.
    warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
    still = look_still(os.environ, livekit_config, time.time())
    findings = still.findings
    if still.config is not None and not offline:
        findings = [*findings, *_look_around(still.config, still.file, public_url, as_user)]
    hidden = [as_user, *_secrets(still)]
    findings = [_without(hidden, finding) for finding in findings]
    (_print_json if as_json else _print_lines)(findings)
    sys.exit(EXIT_CODES[worst(findings)])


def _look_around(
    config: Config, file: LiveKitFile | None, public_url: str, as_user: str
) -> list[Finding]:
    async def work(clocks: Clocks, agents: Agents) -> list[Finding]:
        means = Means(
            config=config,
            upstream=Http(agents.upstream, clocks.reactor),
            livekit=Http(agents.livekit, clocks.reactor),
            synapse=Http(agents.synapse, clocks.reactor),
            clock=clocks.reactor,
            now=clocks.now,
            epoch=clocks.epoch,
            new_name=lambda: secrets.token_hex(6),
            addresses=own_addresses(),
            public_url=public_url,
            user_token=as_user.strip(),
        )
        return await look_around(means, file)

    return on_the_reactor(work)


def _secrets(still: Still) -> Iterable[str]:
    if still.config is not None:
        yield from (still.config.secret, still.config.synapse_token, still.config.push_secret)
    if still.file is not None:
        yield from still.file.keys.values()


def _without(hidden: Iterable[str], finding: Finding) -> Finding:
    """Make sure that no secret is in a finding, whoever repeated it to us."""
    seen, wanted = finding.seen, finding.wanted
    for secret in hidden:
        if len(secret) >= _LEAST_HIDDEN:
            seen, wanted = seen.replace(secret, "***"), wanted.replace(secret, "***")
    return evolve(finding, seen=seen, wanted=wanted)


def _print_json(findings: Sequence[Finding]) -> None:
    report = {"level": worst(findings), "findings": [asdict(finding) for finding in findings]}
    click.echo(json.dumps(report, indent=1))


def _print_lines(findings: Sequence[Finding]) -> None:
    console = Console(highlight=False)
    for finding in findings:
        change = f". Change: {finding.wanted}" if finding.wanted else ""
        line = f"{finding.level:<8} {finding.name:<22} {finding.seen}{change}"
        if console.is_terminal:
            text = Text(line)  # never markup: it holds what others sent
            text.stylize(_STYLES[finding.level], 0, len(finding.level))
            console.print(text, soft_wrap=True)
        else:
            click.echo(line)
