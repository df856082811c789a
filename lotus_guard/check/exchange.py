"""How the checks ask: one bounded HTTP exchange, and its answer or its failure in words."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from lotus_guard.core.objects import json_object
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.http import Http, HttpAnswer

SECONDS = 5.0
"""The deadline of one exchange."""
MOST_BYTES = 8 * 1024 * 1024
PREFIX = "lotus-guard-check"
"""Begins the name of whatever the check makes, and says who it was in others' logs."""

_WORDS = {
    Reason.REFUSED: "connection refused",
    Reason.DNS: "the host name does not resolve",
    Reason.TIMEOUT: "no answer in time",
    Reason.RESET: "the connection broke",
    Reason.OVERSIZED: "the answer is too long",
}


async def request(
    http: Http,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    seconds: float = SECONDS,
) -> HttpAnswer:
    """Make one request and read its answer; raises Outage."""
    sent = {"User-Agent": PREFIX, **(headers or {})}
    raw = {name.encode("ascii"): value.encode("ascii") for name, value in sent.items()}
    return await http.exchange(
        method.encode("ascii"),
        url.encode("ascii"),
        raw,
        body,
        seconds=seconds,
        most=MOST_BYTES,
    )


def describe_outage(outage: Outage, url: str) -> str:
    """Why nothing came from an address, in words."""
    if outage.reason in _WORDS:
        return f"no answer from {url}: {outage_in_words(outage)}"
    if urlsplit(url).scheme == "https":
        return f"{url} has no TLS certificate that can be trusted ({outage.detail})"
    return f"{url} does not speak HTTP ({outage.detail})"


def outage_in_words(outage: Outage) -> str:
    """Why nothing came, in a few words."""
    return _WORDS.get(outage.reason, outage.detail)


def describe_answer(answer: HttpAnswer) -> str:
    """An answer in words, by status and type; never by its body, which may repeat a token."""
    kind = header(answer, "Content-Type").partition(";")[0]
    return f"{answer.status} {kind}".strip()


def header(answer: HttpAnswer, name: str) -> str:
    """The first value of a header, or nothing."""
    values = answer.headers.getRawHeaders(name.encode("ascii"), [])
    return values[0].decode("latin-1") if values else ""


def fields_of(answer: HttpAnswer) -> dict[str, Any]:
    """The JSON object in an answer; empty where there is none."""
    return json_object(answer.body) or {}


def errcode_of(answer: HttpAnswer) -> str:
    """The errcode of a Matrix error, or nothing."""
    code = fields_of(answer).get("errcode")
    return code if isinstance(code, str) else ""


def clock_offset_of(answer: HttpAnswer, epoch: float) -> float | None:
    """By how many seconds a server's clock is ahead of ours, from its Date header."""
    try:
        return parsedate_to_datetime(header(answer, "Date")).timestamp() - epoch
    except (ValueError, TypeError, OverflowError):
        return None
