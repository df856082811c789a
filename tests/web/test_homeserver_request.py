"""For whom a homeserver asks, and that it is ours."""

from typing import Any

import pytest
from attrs import define, field
from twisted.logger import formatEvent
from twisted.web.http_headers import Headers

from lotus_guard.core.homeserver_wire import CLIENT_PATHS, FEDERATION_PATHS, Sender
from lotus_guard.core.model import UserId
from lotus_guard.enforce.credentials import Credential
from lotus_guard.overload.client_address import Origin
from lotus_guard.web.homeserver_request import Homeservers
from lotus_guard.web.problems import Objections, Problem
from tests.web.standing import Recorded

USER, ORIGIN = "X-Matrix-User-Identifier", "X-Matrix-Origin"
ALICE = {USER: ["@alice:s"]}


@define(eq=False)
class Asked:
    """A request, as far as it is looked at."""

    uri: bytes
    requestHeaders: Headers
    sender: Any = None


def request(headers: dict[str, list[str]], path: str = CLIENT_PATHS[0]) -> Any:
    return Asked(path.encode(), Headers(headers))


@define(eq=False)
class Entry:
    token: str = "t"
    kept: Recorded = field(factory=Recorded)
    at: float = 0.0
    known: Homeservers = field(init=False)

    def __attrs_post_init__(self) -> None:
        records: Any = self.kept
        token = Credential("HS_TOKEN", self.token)
        self.known = Homeservers(token, Objections(records), lambda: self.at)

    def of(self, asked: Any) -> Origin:
        return self.known.of(asked)


def refused(entry: Entry, asked: Any) -> tuple[int, str]:
    with pytest.raises(Problem) as raised:
        entry.of(asked)
    return raised.value.status, raised.value.errcode


def bearer(*tokens: str) -> dict[str, list[str]]:
    return {"Authorization": [f"Bearer {token}" for token in tokens]}


def test_each_user_is_a_client_and_so_is_each_other_homeserver() -> None:
    asked = request({**bearer("t"), **ALICE})
    assert Entry().of(asked) == Origin("@alice:s")
    assert asked.sender == Sender(UserId("@alice:s"), "s")
    asked = request({**bearer("t"), ORIGIN: ["other"]}, FEDERATION_PATHS[0])
    assert Entry().of(asked) == Origin("other")
    assert asked.sender == Sender(server="other")


def test_what_a_homeserver_asks_for_nobody_is_its_own() -> None:
    asked = request(bearer("t"), "/_matrix/app/v1/ping")
    assert Entry().of(asked) == Origin("homeserver")
    assert asked.sender is None


@pytest.mark.parametrize(
    ("headers", "errcode"),
    [
        ({}, "M_MISSING_TOKEN"),
        (bearer("u"), "M_UNKNOWN_TOKEN"),
        (bearer("t", "t"), "M_UNKNOWN_TOKEN"),
        (bearer(""), "M_UNKNOWN_TOKEN"),
        ({"Authorization": ["t"]}, "M_MISSING_TOKEN"),
        ({"Authorization": ["Basic t"]}, "M_MISSING_TOKEN"),
        ({"Authorization": ["Bearer \u00fc"]}, "M_UNKNOWN_TOKEN"),
    ],
)
def test_whoever_is_not_our_homeserver_is_told_so_and_not_recorded(
    headers: dict[str, list[str]], errcode: str
) -> None:
    entry = Entry()
    assert refused(entry, request({**headers, **ALICE})) == (401, errcode)
    assert entry.kept.rulings == []


def test_the_log_says_once_a_minute_that_the_tokens_differ(logged: list[Any]) -> None:
    """Whoever reaches the port can cause it: they fill no log."""
    entry = Entry("the-guards-own")
    for number in range(1000):
        refused(entry, request({**bearer(f"synapses-{number}"), **ALICE}))
    entry.at = 61.0
    refused(entry, request({**bearer("synapses"), **ALICE}))
    lines = [str(formatEvent(event)) for event in logged]
    assert len(lines) == 2
    assert "not the hs_token that the guard has (HS_TOKEN). If your" in lines[0]
    assert "restart all three" in lines[0]
    assert "(and 999 more since the line before)" in lines[1]
    assert not any("synapses" in line or "the-guards-own" in line for line in lines)


def test_a_request_without_a_token_is_another_line(logged: list[Any]) -> None:
    entry = Entry()
    for _ in range(3):
        refused(entry, request(ALICE))
        refused(entry, request({**bearer("u"), **ALICE}))
    assert len(logged) == 2
    assert "no token" in str(formatEvent(logged[0]))


def test_where_no_token_is_known_none_is_asked_for() -> None:
    assert Entry("").of(request(ALICE)) == Origin("@alice:s")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (CLIENT_PATHS[0], {}),
        (CLIENT_PATHS[0], {USER: ["@a:s", "@b:s"]}),
        (CLIENT_PATHS[0], {USER: ["@a:s"], "X_Matrix_User_Identifier": ["@b:s"]}),
        (CLIENT_PATHS[0], {USER: ["@a:s"], ORIGIN: ["o"]}),
        (CLIENT_PATHS[0], {ORIGIN: ["o"]}),
        (FEDERATION_PATHS[0], {USER: ["@a:s"]}),
        (FEDERATION_PATHS[0], {ORIGIN: ["o", "p"]}),
        (FEDERATION_PATHS[0], {ORIGIN: [""]}),
        (CLIENT_PATHS[0], {USER: [""]}),
        (CLIENT_PATHS[0], {USER: ["a:s"]}),
        ("/_matrix/app/v1/ping", {USER: ["@a:s"]}),
        (f"http://h{CLIENT_PATHS[0]}", {}),
        (f"HTTP://h{CLIENT_PATHS[0]}?q", {ORIGIN: ["o"]}),
        ("*", {USER: ["@a:s"]}),
    ],
)
def test_it_must_be_clear_for_whom_it_asks(path: str, headers: dict[str, list[str]]) -> None:
    entry = Entry()
    assert refused(entry, request({**bearer("t"), **headers}, path)) == (400, "M_INVALID_PARAM")
    assert len(entry.kept.rulings) == 1
