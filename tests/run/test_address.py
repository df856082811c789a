"""What the endpoints and URLs of the settings say."""

import pytest

from lotus_guard.run.address import leads_to, listening


@pytest.mark.parametrize(
    ("endpoint", "url", "same"),
    [
        ("tcp:8070", "http://127.0.0.1:8070", True),
        ("tcp:8070", "http://localhost:8070/x", True),
        ("tcp:port=8070:interface=127.0.0.1", "http://127.0.0.1:8070", True),
        ("tcp:8070:interface=\\:\\:1", "http://[::1]:8070", True),
        ("tcp:8070", "http://127.0.0.1:8071", False),
        ("tcp:80", "http://localhost", True),
        ("tcp:8070:interface=10.0.0.1", "http://10.0.0.1:8070", True),
        ("tcp:8070:interface=10.0.0.1", "http://127.0.0.1:8070", False),
        ("tcp:8070", "http://lk-jwt-service:8070", False),
    ],
)
def test_an_address_that_is_our_own(endpoint: str, url: str, same: bool) -> None:
    own = listening(endpoint)
    assert own is not None
    assert leads_to(url, own) is same


def test_an_endpoint_that_is_no_port() -> None:
    assert listening("unix:/run/guard.sock") is None
    assert listening("systemd:domain=INET:index=0") is None
    assert listening("") is None
