"""For whom the guard takes a client, and whose word counts."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from lotus_guard.check.context import CheckContext, CheckOptions, HttpClients
from lotus_guard.check.finding import Level
from lotus_guard.check.public_client import FAKE, judge_client
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import read_config
from tests.check.breaks import Break, W, each_is_found
from tests.check.checked_stack import CheckedStack
from tests.test_docs import GOOD


def the_proxy_names_nobody(stack: CheckedStack) -> None:
    stack.public.names = ()


def the_proxy_names_nobody_and_strips(stack: CheckedStack) -> None:
    stack.public.names = ()
    stack.public.hides = True


def two_proxies_disagree(stack: CheckedStack) -> None:
    stack.public.outer = "198.51.100.7"


BREAKS: list[tuple[Break, str, Level, str]] = [
    (the_proxy_names_nobody, "public-client", W, "can pass for any other"),
    (the_proxy_names_nobody_and_strips, "public-client", W, "does not name its clients"),
    (two_proxies_disagree, "public-client", W, "differ"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


HTTPS = "https://call.example.org/livekit/jwt"
DIRECT = "http://call.example.org:8070"
OURS, OUTER, INNER = "198.51.100.1", "10.0.0.9", "10.0.0.2"
OK, NOTE, WARNING = Level.OK, Level.NOTE, Level.WARNING


def judged(
    echo: dict[str, Any], url: str = HTTPS, trusted: str = "loopback,private"
) -> tuple[Level, str]:
    nobody: Any = None
    clock = Clock()
    context = CheckContext(
        config=read_config({**GOOD, "LOTUS_GUARD_TRUSTED_PROXIES": trusted}),
        http=HttpClients(nobody, nobody, nobody),
        clocks=Clocks(clock, clock.seconds, clock.seconds),
        options=CheckOptions(public_url=url),
        new_name=str,
        addresses=(OURS, "10.0.0.7"),
    )
    found = judge_client(context, echo)
    return found.level, f"{found.seen} {found.wanted}"


def echo(peer: str, forwarded: list[str], real: list[str], client: str = OURS) -> dict[str, Any]:
    return {"peer": peer, "forwarded": forwarded, "real": real, "client": client, "crowd": False}


@pytest.mark.parametrize(
    ("got", "level", "words"),
    [
        # One proxy, which names its client in one of the headers, or in both.
        (echo(INNER, [FAKE, OURS], [FAKE]), OK, f"({OURS})"),
        (echo(INNER, [OURS], [OURS]), OK, f"({OURS})"),
        (echo(INNER, [FAKE], [OURS]), OK, f"({OURS})"),
        (echo(INNER, [], [OURS]), OK, f"({OURS})"),
        # The check runs on a machine whose own address is trusted: it counts as its own lie.
        (echo(INNER, [FAKE, "10.0.0.7"], ["10.0.0.7"], FAKE), OK, "(10.0.0.7)"),
        (echo(INNER, ["127.0.0.1"], ["127.0.0.1"], "127.0.0.1"), OK, "(127.0.0.1)"),
        # Two, and three.
        (echo(INNER, [FAKE, OURS, OUTER], [OUTER]), OK, f"({OURS})"),
        (echo(INNER, [OURS, OUTER], [OURS]), OK, f"({OURS})"),
        (echo(INNER, [FAKE, OURS, "10.0.0.8", OUTER], [OUTER]), OK, f"({OURS})"),
        (echo(INNER, [FAKE, OURS, "192.0.2.8"], [FAKE]), WARNING, "private,192.0.2.8"),
        (echo(INNER, [FAKE, OURS, "192.0.2.8", OUTER], []), WARNING, "private,192.0.2.8"),
        (echo(INNER, [FAKE, OURS, "192.0.2.8"], []), WARNING, "2 proxies in a row"),
        (echo(INNER, [FAKE, OURS], [OUTER]), WARNING, "differ"),
        (echo(INNER, [OUTER], [OURS]), WARNING, "differ"),
        (echo(INNER, [FAKE, "unclear", OUTER], []), WARNING, "name nobody"),
        (echo(INNER, [OUTER], []), WARNING, f"from {OUTER}, which is not one of this"),
        (echo(INNER, [OUTER], [FAKE], "unclear behind x"), WARNING, f"from {OUTER}, which"),
        # Nobody is named.
        (echo(INNER, [FAKE], [FAKE], FAKE), WARNING, "can pass for any other"),
        ({**echo(INNER, [], [], INNER), "crowd": True}, WARNING, "all share one rate limit"),
        # The proxy itself is not trusted.
        (echo("192.0.2.8", [FAKE, OURS], [FAKE], "192.0.2.8"), WARNING, "private,192.0.2.8"),
        (echo("192.0.2.8", [FAKE], [FAKE], "192.0.2.8"), WARNING, "private,192.0.2.8"),
        # An older guard does not say so much.
        ({"client": OURS, "crowd": False}, NOTE, "restart the guard"),
        ({}, NOTE, "restart the guard"),
    ],
)
def test_whose_word_counts(got: dict[str, Any], level: Level, words: str) -> None:
    found, text = judged(got)
    assert found is level, text
    assert words in text


def test_without_a_proxy_nobody_need_be_named() -> None:
    direct = echo("192.0.2.8", [FAKE], [FAKE], "192.0.2.8")
    assert judged(direct, DIRECT)[0] is OK
    assert judged(direct, DIRECT, trusted="")[0] is OK
    assert judged(direct, HTTPS, trusted="")[0] is WARNING, "the guard itself has no TLS"


def test_networks_that_are_trusted_stay_in_the_line() -> None:
    got = echo("192.0.2.8", [FAKE, OURS], [FAKE], "192.0.2.8")
    text = judged(got, trusted="10.0.0.0/8,fd00::1")[1]
    assert "LOTUS_GUARD_TRUSTED_PROXIES=10.0.0.0/8,fd00::1,192.0.2.8" in text
