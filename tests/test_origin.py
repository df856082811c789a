"""Whom a request counts for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.origin import Origin, Origins, last_of, networks_of

ORIGINS = Origins(networks_of("loopback,private"))
PROXY = "10.1.2.3"


@pytest.mark.parametrize(
    ("peer", "real", "forwarded", "wanted"),
    [
        # Who is no proxy says nothing about himself.
        ("203.0.113.7", None, None, "203.0.113.7"),
        ("203.0.113.7", b"192.0.2.1", b"192.0.2.1", "203.0.113.7"),
        # One header or both, from a proxy.
        (PROXY, b"192.0.2.1", None, "192.0.2.1"),
        (PROXY, None, b"192.0.2.1", "192.0.2.1"),
        (PROXY, b"192.0.2.1", b"192.0.2.1", "192.0.2.1"),
        (None, None, b"192.0.2.1", "192.0.2.1"),
        # Only the right-most entry is the proxy's own.
        (PROXY, None, b"198.51.100.1, 192.0.2.1", "192.0.2.1"),
        (PROXY, None, b"198.51.100.1,192.0.2.1:4711", "192.0.2.1"),
        # IPv6 by /64, and IPv4 in disguise.
        (PROXY, b"2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        (PROXY, None, b"[2001:db8:1:2::9]:4711", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3:4:5:6", None, None, "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", None, None, "203.0.113.7"),
        # What contradicts itself, or is no address, is one client for all of them.
        (PROXY, b"192.0.2.1", b"192.0.2.2", f"unclear behind {PROXY}"),
        (PROXY, b"192.0.2.1", b"nonsense", f"unclear behind {PROXY}"),
        (PROXY, b"'; drop table", None, f"unclear behind {PROXY}"),
        (PROXY, None, b"unknown", f"unclear behind {PROXY}"),
        (PROXY, None, b"192.0.2.1,", f"unclear behind {PROXY}"),
    ],
)
def test_a_client_is_told(
    peer: str | None, real: bytes | None, forwarded: bytes | None, wanted: str
) -> None:
    assert ORIGINS.of(peer, real, forwarded) == Origin(wanted)


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "192.168.7.7", "fd00::1", "::ffff:10.0.0.1"])
def test_a_proxy_that_names_nobody_stands_for_a_crowd(peer: str) -> None:
    assert ORIGINS.is_proxy(peer)
    assert ORIGINS.of(peer, None, None).is_crowd
    assert Origins(()).of(peer, None, b"192.0.2.1") == Origins(()).of(peer, None, None)
    assert not Origins(()).of(peer, None, None).is_crowd


def test_one_network_can_be_trusted_alone() -> None:
    origins = Origins(networks_of("192.0.2.0/24, 2001:db8::1"))
    assert origins.is_proxy("192.0.2.9")
    assert origins.is_proxy("2001:db8::1")
    assert not origins.is_proxy("127.0.0.1")
    with pytest.raises(ValueError, match=r"10\.0\.0\.256"):
        networks_of("10.0.0.256")


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_header_breaks_it_and_none_makes_a_crowd(real: bytes, forwarded: bytes) -> None:
    found = ORIGINS.of(PROXY, real, forwarded)
    assert found.is_crowd == (not real and not forwarded)
    if not real:
        entry = forwarded.rpartition(b",")[2]
        assert ORIGINS.of(PROXY, None, b"1.2.3.4, " + entry) == found or not entry


def test_the_last_line_of_a_header_counts() -> None:
    assert last_of([b"a", b"b"]) == b"b"
    assert last_of([]) is None
    assert last_of(None) is None
