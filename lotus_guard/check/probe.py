"""A probe: a request that a guard with our secret answers itself, with what it got of it."""

from typing import Any

from lotus_guard.check.context import CheckContext
from lotus_guard.check.exchange import fields_of
from lotus_guard.core.probe import FIELD, HEADER, QUERY, sign_probe
from lotus_guard.neighbours.http import HttpAnswer


def probe_headers(context: CheckContext) -> dict[str, str]:
    """Make the header that makes a request a probe."""
    return {HEADER: sign_probe(context.config.secret, context.clocks.epoch())}


def probe_query(context: CheckContext) -> str:
    """Make the query string that makes a request a probe behind a homeserver."""
    return f"?{QUERY}={sign_probe(context.config.secret, context.clocks.epoch())}"


def echo_of(answer: HttpAnswer) -> dict[str, Any] | None:
    """Read what a guard got of our probe; None where no guard answered."""
    got = fields_of(answer).get(FIELD)
    if answer.status != 200 or not isinstance(got, dict):
        return None
    return {**got, "method": str(got.get("method")), "target": str(got.get("target"))}
