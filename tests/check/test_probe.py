"""A probe: what a guard with our secret answers itself."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.web.http_headers import Headers

from lotus_guard.check.probe import echo_of, probe_headers
from lotus_guard.core.probe import FIELD, HEADER, is_genuine
from lotus_guard.neighbours.http import HttpAnswer

SECRET = "a-secret-for-tests-of-32-bytes-or-more"


def answer(status: int, fields: object) -> HttpAnswer:
    return HttpAnswer(status, Headers(), json.dumps(fields).encode())


def test_a_guard_with_our_secret_knows_our_probe() -> None:
    context: Any = SimpleNamespace(
        config=SimpleNamespace(secret=SECRET), clocks=SimpleNamespace(epoch=lambda: 1e9)
    )
    (name, value), *_ = probe_headers(context).items()
    assert name == HEADER
    assert is_genuine(value, SECRET, 1e9)
    assert not is_genuine(value, SECRET[::-1], 1e9)


def test_a_guard_says_what_arrived() -> None:
    echo = echo_of(answer(200, {FIELD: {"method": "POST", "target": "/x", "peer": "p"}}))
    assert echo == {"method": "POST", "target": "/x", "peer": "p"}


@pytest.mark.parametrize(
    ("status", "fields"), [(200, {}), (200, {FIELD: []}), (404, {FIELD: {}}), (200, [])]
)
def test_whoever_else_answers_says_nothing(status: int, fields: object) -> None:
    assert echo_of(answer(status, fields)) is None
