"""Whether a text is the URL of a server that can be asked."""

import pytest

from lotus_guard.core.server_url import EXTRAS, MOST_NAME, is_host, url_fault

LONG = ".".join(["x" * 50] * 6)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8071",
        "https://call.example.org/base/",
        "http://[::1]:8071",
        "http://lk_jwt-service",
        "https://example.org.",
    ],
)
def test_a_server_that_can_be_asked(url: str) -> None:
    assert url_fault(url) == ""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "does not begin with https:// or http://"),
        ("127.0.0.1:8072", "does not begin with"),
        ("ftp://host", "does not begin with"),
        ("http://", "has no host"),
        ("http:///path", "has no host"),
        ("http://call..example.org", "has no valid host: 'call..example.org'"),
        ("http://host:x", "port that is not valid"),
        ("http://host:65536", "port that is not valid"),
        ("http://[::1", "a host or port that is not valid"),
        ("http://ho st", "contains characters that no URL has"),
        ("http://ca\u0142l", "xn--"),
        ("http://host?x=1", EXTRAS),
        ("http://host#x", EXTRAS),
        ("http://me:pw@host", EXTRAS),
    ],
)
def test_what_is_wrong_with_one_that_cannot(url: str, words: str) -> None:
    assert words in url_fault(url)


def test_a_host_is_a_name_or_an_address() -> None:
    assert [text for text in ("h", "a.b", "::1", "10.0.0.1") if not is_host(text)] == []
    assert [text for text in ("", ".", "a..b", "a b", "::g", "x" * 64) if is_host(text)] == []
    assert len(LONG) > MOST_NAME
    assert not is_host(LONG)
