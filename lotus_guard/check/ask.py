"""How the looks ask: one bounded exchange, and its failure in words."""

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from lotus_guard.core.objects import json_object
from lotus_guard.core.probe import FIELD, HEADER, sign_probe
from lotus_guard.enforce.ports import Now, Outage, Reason
from lotus_guard.neighbours.http import Http, HttpAnswer
from lotus_guard.run.config import Config

SECONDS = 5.0
"""The deadline of one exchange."""
MOST_BYTES = 8 * 1024 * 1024
PREFIX = "lotus-guard-check"
"""Begins the name of whatever the check makes, and says who it was in others' logs."""

_WORDS = {
    Reason.REFUSED: "the connection is refused",
    Reason.DNS: "the host name does not resolve",
    Reason.TIMEOUT: "there is no answer in time",
    Reason.RESET: "the connection is broken off",
    Reason.OVERSIZED: "the answer is too long",
}


@frozen
class CheckContext:
    """What the looks look with."""

    config: Config
    upstream: Http
    livekit: Http
    synapse: Http
    clock: Any
    """The reactor, for waiting."""
    now: Now
    epoch: Callable[[], float]
    new_name: Callable[[], str]
    """Gives a name that nobody else uses."""
    addresses: tuple[str, ...] = ()
    """This machine's own addresses that others can reach."""
    public_url: str = ""
    user_token: str = field(default="", repr=False)
    patience: float = 3.0
    """Seconds that a webhook may take."""


async def ask(
    http: Http,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    seconds: float = SECONDS,
) -> HttpAnswer:
    """Make one exchange; raises Outage."""
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


def trouble(outage: Outage, url: str) -> str:
    """Say in words why nothing came from an address."""
    if outage.reason in _WORDS:
        return f"nothing answers at {url}: {words_for(outage)}"
    if urlsplit(url).scheme == "https":
        return f"no TLS that can be trusted at {url} ({outage.detail})"
    return f"what answers at {url} does not speak HTTP ({outage.detail})"


def words_for(outage: Outage) -> str:
    """Say in a few words why nothing came."""
    return _WORDS.get(outage.reason, outage.detail)


def described(answer: HttpAnswer) -> str:
    """Describe an answer by status and type; never by its body, which may repeat a token."""
    kind = header(answer, "Content-Type").partition(";")[0]
    return f"{answer.status} {kind}".strip()


def header(answer: HttpAnswer, name: str) -> str:
    """Give the first value of a header, or nothing."""
    values = answer.headers.getRawHeaders(name.encode("ascii"), [])
    return values[0].decode("latin-1") if values else ""


def fields_of(answer: HttpAnswer) -> dict[str, Any]:
    """Read the object in an answer; empty where there is none."""
    return json_object(answer.body) or {}


def errcode_of(answer: HttpAnswer) -> str:
    """Give the errcode of a Matrix error, or nothing."""
    code = fields_of(answer).get("errcode")
    return code if isinstance(code, str) else ""


def skew_of(answer: HttpAnswer, epoch: float) -> float | None:
    """Tell by how many seconds a server's clock is ahead of ours, from its Date header."""
    try:
        return parsedate_to_datetime(header(answer, "Date")).timestamp() - epoch
    except (ValueError, TypeError, OverflowError):
        return None


def probe_headers(means: CheckContext) -> dict[str, str]:
    """Make the header that a guard with our secret answers itself."""
    return {HEADER: sign_probe(means.config.secret, means.epoch())}


def echo_of(answer: HttpAnswer) -> dict[str, Any] | None:
    """Read what a guard says that it got of our probe; None where no guard answered."""
    got = fields_of(answer).get(FIELD)
    if answer.status != 200 or not isinstance(got, dict):
        return None
    return {**got, "method": str(got.get("method")), "target": str(got.get("target"))}
