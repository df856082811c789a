"""Whom a request counts for."""

from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.overload.client_address import (
    MOST_ADDRESS,
    MOST_READ,
    REMEMBERED,
    UNCLEAR,
    Origin,
    Origins,
    _parsed,
    end_of,
    entries_of,
    networks_of,
)

ORIGINS = Origins(networks_of("loopback,private"))
PROXY = "10.1.2.3"


@pytest.mark.parametrize(
    ("peer", "real", "forwarded", "wanted"),
    [
        # Who is no proxy says nothing about themselves.
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
        # The first from the right that is no trusted proxy; what is left of it is anybody's word.
        (PROXY, None, b"192.0.2.1, 10.9.9.9", "192.0.2.1"),
        (PROXY, None, b"198.51.100.1, 192.0.2.1, 10.9.9.9, 127.0.0.1", "192.0.2.1"),
        (PROXY, None, b"198.51.100.1, 192.0.2.1:80, [fd00::1]:80, ::ffff:10.9.9.9", "192.0.2.1"),
        (PROXY, None, b"192.0.2.1, unknown, 10.9.9.9", f"unclear behind {PROXY}"),
        (PROXY, None, b"192.0.2.1, , 10.9.9.9", f"unclear behind {PROXY}"),
        # All of them trusted: the left-most is a client of a private network.
        (PROXY, None, b"192.168.1.50, 10.9.9.9", "192.168.1.50"),
        # X-Real-IP is the client, or a proxy that was passed; anything else is a contradiction.
        (PROXY, b"10.9.9.9", b"192.0.2.1, 10.9.9.9", "192.0.2.1"),
        (PROXY, b"192.0.2.1", b"192.0.2.1, 10.9.9.9", "192.0.2.1"),
        (PROXY, b"10.9.9.9", b"192.0.2.1", f"unclear behind {PROXY}"),
        (PROXY, b"192.0.2.1", b"10.9.9.9", f"unclear behind {PROXY}"),
        (PROXY, b"198.51.100.1", b"198.51.100.1, 192.0.2.1, 10.9.9.9", f"unclear behind {PROXY}"),
    ],
)
def test_a_client_is_told(
    peer: str | None, real: bytes | None, forwarded: bytes | None, wanted: str
) -> None:
    assert ORIGINS.of(peer, real or b"", forwarded or b"") == Origin(wanted)


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "192.168.7.7", "fd00::1", "::ffff:10.0.0.1"])
def test_a_proxy_that_names_nobody_stands_for_a_crowd(peer: str) -> None:
    assert ORIGINS.is_proxy(peer)
    assert ORIGINS.of(peer, b"", b"").is_crowd
    assert Origins(()).of(peer, b"", b"192.0.2.1") == Origins(()).of(peer, b"", b"")
    assert not Origins(()).of(peer, b"", b"").is_crowd


PARTS = st.sampled_from(["0", "1", "9", "255", "256", "00", "01", "1e1", "", " ", "+1", "\u0661"])
TEXTS = st.one_of(
    st.lists(PARTS, min_size=3, max_size=5).map(".".join),
    st.ip_addresses().map(str),
    st.text(alphabet="0123456789.:abcdefx%\0 ", max_size=50),
)


@given(TEXTS)
def test_an_address_is_what_pythons_own_reader_takes_for_one(text: str) -> None:
    try:
        address: Any = ip_address(text.partition("%")[0])
    except ValueError:
        wanted = UNCLEAR
    else:
        wanted = str(getattr(address, "ipv4_mapped", None) or address)
    written = f"[{text}]".encode("latin-1", "replace")
    (found,) = entries_of(written)
    assert found == (wanted if written.decode("latin-1") == f"[{text}]" else UNCLEAR)


@given(st.ip_addresses(v=6))
def test_an_ipv6_client_is_their_network(address: IPv6Address) -> None:
    network = str(IPv6Network((int(address), 64), strict=False))
    if address.ipv4_mapped is None:
        assert Origins(()).of(str(address), b"", b"") == Origin(network)


def test_what_is_too_long_for_an_address_is_none_and_is_not_kept() -> None:
    longest = "0000:0000:0000:0000:0000:ffff:255.255.255.255"
    assert len(longest) == MOST_ADDRESS
    assert entries_of(longest.encode()) == ["255.255.255.255"]
    before = _parsed.cache_info()
    assert entries_of(b"1" * (MOST_ADDRESS + 1)) == [UNCLEAR]
    assert _parsed.cache_info() == before
    assert before.maxsize == REMEMBERED


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
    assert all(each.isprintable() for each in entries_of(forwarded))


def unclear(peer: str) -> str:
    """Name those whose headers contradict each other."""
    return f"unclear behind {Origins(()).of(peer, b'', b'').address}"


class Headers(NamedTuple):
    """A request's lines of the two headers, as it travels."""

    real: tuple[bytes, ...] = ()
    forwarded: tuple[bytes, ...] = ()

    def origin(self, peer: str, origins: Origins = ORIGINS) -> Origin:
        return origins.of(peer, end_of(self.real), end_of(self.forwarded))


class Hop(NamedTuple):
    """A proxy, and what it does with the headers: appends, adds a line, or replaces."""

    address: str
    forwarded: str = "append"
    sets_real: bool = False

    def hand_on(self, headers: Headers, peer: str) -> Headers:
        real = (peer.encode(),) if self.sets_real else headers.real
        old = headers.forwarded
        lines = {
            "append": (b", ".join([*old, peer.encode()]),),  # nginx's $proxy_add_x_forwarded_for
            "add a line": (*old, peer.encode()),  # HAProxy's option forwardfor
            "replace": (peer.encode(),),
            "leave": old,
        }
        return Headers(real, lines[self.forwarded])


CLIENT = "203.0.113.7"
WRITTEN = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=2000),
    st.sampled_from([b"192.0.2.9", b"10.0.0.1", b"10.9.9.9, 10.1.2.3", b"unknown", b"", b","]),
    st.lists(st.sampled_from([b"198.51.100.4", b"10.9.9.9", b"::1"]), max_size=99).map(b", ".join),
)
SENT = st.builds(
    Headers, st.lists(WRITTEN, max_size=3).map(tuple), st.lists(WRITTEN, max_size=3).map(tuple)
)
TRUSTED = st.sampled_from(["10.1.2.3", "127.0.0.1", "fd00::5", "192.168.7.7", "10.9.9.9"])
NAMING = st.builds(Hop, TRUSTED, st.sampled_from(["append", "add a line"]), st.booleans())


def travel(headers: Headers, hops: list[Hop], client: str = CLIENT) -> tuple[Headers, str]:
    """Return what arrives behind these proxies, the client's first, and who connects."""
    peer = client
    for hop in hops:
        headers, peer = hop.hand_on(headers, peer), hop.address
    return headers, peer


@given(SENT, st.lists(NAMING, min_size=1, max_size=4))
def test_nobody_chooses_what_they_count_as(sent: Headers, hops: list[Hop]) -> None:
    """Behind any number of proxies that name whom they ask for; a lie makes a client unclear."""
    found = travel(sent, hops)
    assert found[0].origin(found[1]).address in (CLIENT, unclear(hops[-1].address))
    if not sent.real:
        assert found[0].origin(found[1]) == Origin(CLIENT)
    if all(hop.sets_real for hop in hops):
        assert found[0].origin(found[1]) == Origin(CLIENT)


@given(SENT, st.lists(NAMING, min_size=1, max_size=3), NAMING)
def test_who_comes_by_a_proxy_that_is_not_trusted_counts_as_that_proxy(
    sent: Headers, hops: list[Hop], unknown: Hop
) -> None:
    stranger = unknown._replace(address="198.51.100.99")
    headers, peer = travel(sent, [stranger, *hops])
    assert headers.origin(peer).address in ("198.51.100.99", unclear(peer))


NAMES = st.tuples(st.sampled_from(["append", "add a line", "replace"]), st.booleans())
ANY = st.tuples(st.sampled_from(["append", "add a line", "replace", "leave"]), st.booleans())


@given(NAMES, ANY, SENT)
def test_no_pair_of_proxies_lets_a_client_choose(
    outer: tuple[str, bool], inner: tuple[str, bool], sent: Headers
) -> None:
    """The outer one names the client; whatever the inner one does, no lie is believed."""
    hops = [Hop("10.9.9.9", *outer), Hop("10.1.2.3", *inner)]
    headers, peer = travel(sent, hops)
    allowed = {CLIENT, "10.9.9.9", "unclear behind 10.1.2.3"}
    assert headers.origin(peer).address in allowed


def test_the_lines_of_a_header_are_one_list_and_its_end_counts() -> None:
    assert end_of([b"a", b"b"]) == b"a,b"
    assert end_of([]) == end_of(None) == b""
    assert len(end_of([b"10.0.0.1, " * 1000])) <= MOST_READ + 2
    assert end_of([b"x" * 9000]) == b"?"
    assert end_of([b"x" * 9000 + b", 192.0.2.1"]) == b"?, 192.0.2.1"
    # A list of trusted addresses that goes on to the left is not read to its end.
    left_out = Headers((), (b"203.0.113.7, " + b"10.9.9.9, " * 100 + b"10.9.9.9",))
    assert left_out.origin(PROXY).address == f"unclear behind {PROXY}"
