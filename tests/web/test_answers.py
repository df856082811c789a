"""Answers as they reach a client, byte for byte, and what is counted of them."""

from typing import Any

import pytest
from twisted.web.http_headers import Headers

from lotus_guard.core.sentence import Sentence
from lotus_guard.web.problems import Problem
from tests.web.standing import Standing

NO = Problem(403, "M_FORBIDDEN", Sentence("no"))


def answered(write: Any, method: bytes = b"GET", target: bytes = b"/x") -> tuple[bytes, Standing]:
    """What a client gets where this writes the answer."""
    standing = Standing()

    async def does(request: Any) -> None:
        write(standing.answers, request)

    standing.page.does = does
    _, connection = standing.ask(target, method)
    return bytes(connection.value()), standing


def test_upstreams_headers_stand_and_none_of_twisteds_own() -> None:
    headers = Headers({b"X-Own": [b"1", b"2"]})
    got, _ = answered(lambda answers, it: answers.finish(it, 418, b"Teapot", headers, b"tea"))
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert first == b"HTTP/1.1 418 Teapot"
    assert sorted(lines) == [b"Content-Length: 3", b"X-Own: 1", b"X-Own: 2"]
    assert body == b"tea"


@pytest.mark.parametrize(
    ("method", "length"), [(b"GET", b"Content-Length: 3"), (b"HEAD", b"Content-Length: 9")]
)
def test_an_answer_is_as_long_as_its_body_whatever_its_headers_say(
    method: bytes, length: bytes
) -> None:
    """But for HEAD, whose headers are those of the answer to GET."""
    headers = Headers({b"content-length": [b"9"]})
    got, _ = answered(lambda answers, it: answers.finish(it, 200, None, headers, b"tea"), method)
    assert [line for line in got.split(b"\r\n") if b"Length" in line] == [length]
    assert got.endswith(b"\r\n\r\n" + (b"tea" if method == b"GET" else b""))


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_an_answer_without_a_body_has_the_length_that_upstream_told(
    method: bytes, status: int
) -> None:
    headers = Headers({b"X-Own": [b"1"]})
    got, _ = answered(lambda answers, it: answers.finish(it, status, None, headers, b""), method)
    assert got.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in got


def test_an_answer_of_our_own_may_be_read_by_any_web_page() -> None:
    got, _ = answered(lambda answers, it: answers.tell(it, b"{}"))
    assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in got
    assert b"\r\nContent-Type: application/json\r\n" in got
    got, _ = answered(lambda answers, it: answers.refuse(it, NO))
    assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in got
    assert got.endswith(b'{"errcode": "M_FORBIDDEN", "error": "no"}\n')


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        (b"/get_token", "/get_token"),
        (b"//sfu/get?x", "/sfu/get"),
        (b"/sfu/g%65t", "/sfu/get"),
        (b"/anything/a/client/thinks/of", "other"),
        (b"/%FF", "other"),
    ],
)
def test_each_is_counted_by_its_endpoint_of_which_there_are_three(
    target: bytes, endpoint: str
) -> None:
    _, standing = answered(lambda answers, it: answers.tell(it, b""), b"POST", target)
    assert standing.traffic.answers == [(endpoint, 200)]
