"""`lotus-guard check`: is the whole stack wired right?"""

import json
import os
import secrets
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import asdict, evolve

from lotus_guard.check.addresses import own_addresses
from lotus_guard.check.all import OfflineReport, check_offline, check_online
from lotus_guard.check.context import CheckContext, CheckOptions, clients_over
from lotus_guard.check.finding import EXIT_CODES, Finding, warning, worst
from lotus_guard.check.user import USER
from lotus_guard.commands.check_report import print_report, summary_of
from lotus_guard.commands.common import Failed, on_the_reactor
from lotus_guard.commands.output import make_console
from lotus_guard.commands.surroundings import surroundings
from lotus_guard.core.server_url import url_fault
from lotus_guard.core.text import printable
from lotus_guard.neighbours.agents import Agents
from lotus_guard.run.clocks import Clocks

CHECK = "check"
_LEAST_HIDDEN = 8
"""Shorter secrets are not searched in what is printed: they are in every other word."""


TOKEN_VARIABLE = "CHECK_USER_TOKEN"  # noqa: S105  (a name)
_NO_VALUE = "\0"
"""Stands for `--as-user` without a token: no token contains it."""
WRONG_USAGE = 3
"""What monitoring plugins exit with when they could not look: 0, 1 and 2 are the levels."""


class _Check(click.Command):
    """Exits with a code of its own where the command line is wrong."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Read the command line."""
        try:
            return super().make_context(*arguments, **more)
        except click.UsageError as error:
            error.exit_code = WRONG_USAGE  # type: ignore[misc]  # which click asks the instance for
            raise


def _url(_context: click.Context, _option: click.Parameter, value: str) -> str:
    wrong = url_fault(value) if value else ""
    if wrong:
        wanted = "https://host/prefix, as livekit_service_url has it"
        raise click.BadParameter(f"{printable(value, 100)} {wrong}; expected {wanted}")
    return value


@click.command(cls=_Check, short_help="Check the whole stack.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")
@click.option(
    "--offline",
    is_flag=True,
    help="Check only the settings and the state file; contact no other service.",
)
@click.option(
    "--public-url",
    default="",
    callback=_url,
    metavar="URL",
    help="Also check the public address: livekit_service_url in .well-known/matrix/client.",
)
@click.option(
    "--as-user",
    default=None,
    metavar="[TOKEN]",
    is_flag=False,
    flag_value=_NO_VALUE,
    help="Also get a call token as this user, to see whether the guard and lk-jwt-service have the "
    f"same key. Without TOKEN, uses ${TOKEN_VARIABLE}, which `ps` does not show, or asks for "
    "it. Setting that variable is enough.",
)
@click.option(
    "--livekit-config",
    type=click.Path(path_type=Path),
    help="Also check the key and webhooks in this livekit.yaml.",
)
def check(
    as_json: bool, offline: bool, public_url: str, as_user: str | None, livekit_config: Path | None
) -> None:
    """Check the whole stack and say what to change.

    Prints a line per check (ok, note, warning or fault), what was not checked, and a summary.
    Exits with 0 if nothing is wrong, 1 if there are warnings, 2 if there are faults (wrong settings
    are faults), and 3 if the command line is wrong. Calls are not affected: the check creates an
    empty LiveKit room and removes it again.
    """
    token, no_token = _token(as_user)
    report = check_offline(surroundings().texts, livekit_config, time.time())
    findings = [*report.findings, *no_token]
    if report.config is not None and not offline:
        findings += _check_online(report, CheckOptions(public_url, token))
    hidden = [token, *_secrets(report)]
    findings = [_without(hidden, finding) for finding in findings]
    if as_json:
        _print_json(findings)
    else:
        print_report(make_console(), findings)
    sys.exit(EXIT_CODES[worst(findings)])


def _token(given: str | None) -> tuple[str, list[Finding]]:
    """Find the user's token; where one was wanted and none can be used, a finding says why."""
    token = os.environ.get(TOKEN_VARIABLE, "") if given in (None, _NO_VALUE) else given or ""
    if given == _NO_VALUE and not token.strip():
        try:
            token = click.prompt("Access token of any user", hide_input=True, err=True)
        except click.Abort:
            token = ""
    token = token.strip()
    if token and token.isascii() and token.isprintable() and " " not in token:
        return token, []
    if not token and given is None:
        return "", []
    seen = "it has characters that no token has" if token else "it is empty"
    wanted = f"--as-user or ${TOKEN_VARIABLE}: a valid access token of any user"
    return "", [warning(USER, f"not checked, because there is no access token: {seen}", wanted)]


def _check_online(report: OfflineReport, options: CheckOptions) -> list[Finding]:
    """Make the checks that ask others; what keeps us from them is a finding of its own."""
    config = report.config
    assert config is not None, "nobody is asked with faulty settings"

    async def work(clocks: Clocks, agents: Agents) -> list[Finding]:
        context = CheckContext(
            config=config,
            http=clients_over(agents, clocks.reactor),
            clocks=clocks,
            options=options,
            new_name=lambda: secrets.token_hex(6),
            addresses=own_addresses(),
            livekit_file=report.livekit_file,
        )
        return await check_online(context)

    try:
        return on_the_reactor(work)
    except Failed as failed:
        return [warning(CHECK, f"{failed.message} before everything was checked", "run it again")]
    except Exception as failure:
        seen = f"could not go on: {type(failure).__name__}"
        return [warning(CHECK, seen, "report this line as a bug")]


def _secrets(report: OfflineReport) -> Iterable[str]:
    if report.config is not None:
        config = report.config
        yield from (config.secret, config.synapse_token, config.as_token, config.push_secret)
    if report.livekit_file is not None:
        yield from report.livekit_file.keys.values()


def _without(hidden: Iterable[str], finding: Finding) -> Finding:
    """Take our secrets out of a finding, whoever repeated them to us."""
    seen, wanted = finding.seen, finding.wanted
    for secret in hidden:
        if len(secret) >= _LEAST_HIDDEN:
            seen, wanted = seen.replace(secret, "***"), wanted.replace(secret, "***")
    return evolve(finding, seen=seen, wanted=wanted)


def _print_json(findings: Sequence[Finding]) -> None:
    report = {
        "level": worst(findings),
        "summary": summary_of(findings),
        "findings": [asdict(finding) for finding in findings],
    }
    click.echo(json.dumps(report, indent=1))
