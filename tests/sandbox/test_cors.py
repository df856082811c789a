"""What browsers are told, and who is answered at once."""

from typing import Any

import pytest
from twisted.web.test.requesthelper import DummyRequest

from lotus_guard.sandbox.cors import CORS, is_post, let_browsers_read


@pytest.mark.parametrize(
    ("method", "is_worked_on", "status"),
    [(b"POST", True, None), (b"OPTIONS", False, 200), (b"GET", False, 405), (b"HEAD", False, 405)],
)
def test_only_posts_are_worked_on(method: bytes, is_worked_on: bool, status: int | None) -> None:
    request: Any = DummyRequest([])
    request.method = method
    assert is_post(request) == is_worked_on
    assert request.responseCode == status


def test_a_browser_may_read_the_answer() -> None:
    request: Any = DummyRequest([])
    let_browsers_read(request)
    for name, value in CORS.items():
        assert request.responseHeaders.getRawHeaders(name) == [value]
