"""Which client a request comes from, as far as that can be known behind a proxy.

A header is believed only from a trusted proxy. Each proxy writes whom it asks for at the right end
of `X-Forwarded-For`, so the client is the first entry from the right that is no trusted proxy: a
proxy whose word counts wrote it, and what is left of it anybody may have written. Where all entries
are trusted, the left-most one is the client.

`X-Real-IP` names one address, which must stand on that way as well: the client, or a proxy that was
passed. A proxy that sets one of the two headers hands a client's own copy of the other one on:
where the two disagree, one of them is a client's invention, and all such requests count as one
client.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from socket import AF_INET, inet_pton
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NAMED = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"),
}
"""Words for networks: loopback, and RFC 1918, RFC 4193 and link-local addresses."""

UNCLEAR = "unclear"
PREFIX = 64
"""So many bits of an IPv6 address tell one client from another: the rest is theirs to choose."""
REMEMBERED = 8192
MOST_READ = 512
"""So many bytes of a header count, from its end: a dozen proxies. Clients write the rest."""
MOST_ADDRESS = 45
"""Characters of the longest address, `::ffff:` and its like included; what is longer is none."""
_LEFT_OUT = b"?"
"""Stands for what was not read; no address, so nobody passes for what might stand there."""


class Origin(NamedTuple):
    """A client's address."""

    address: str
    is_crowd: bool = False
    """Whether it is the address of a proxy that does not say for whom it asks: of many clients."""


class _Known(NamedTuple):
    """An address that has been read."""

    address: Address
    shown: str
    """It, written as what tells one client from another."""


def networks_of(text: str) -> tuple[Network, ...]:
    """Read networks with commas between them, and the words in `NAMED`; raises ValueError."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    return tuple(ip_network(each) for word in words for each in NAMED.get(word, (word,)))


class Origins:
    """Finds origins, and remembers the last ones, for reading addresses takes time."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)
        self.of = lru_cache(REMEMBERED)(self._of)
        self.is_proxy = lru_cache(REMEMBERED)(self._is_proxy)

    def _is_proxy(self, peer: str | None) -> bool:
        """Whether a peer may say for whom it asks; one without an address is a local one."""
        known = _read(peer) if peer else None
        if known is None:
            return True
        address = known.address
        return any(
            address in network for network in self._trusted if network.version == address.version
        )

    def _of(self, peer: str | None, real: bytes, forwarded: bytes) -> Origin:
        """The origin of a request; the two headers are as `end_of` returns them."""
        if not self.is_proxy(peer):
            return Origin(_shown(peer or ""))
        if not real and not forwarded:
            return Origin(_shown(peer or "local"), is_crowd=True)
        said = _shown_or_none(_bare(real.rpartition(b",")[2]))
        passed = self._passed(forwarded) if forwarded else [said]
        client = passed[-1] if not real or said in passed else None
        return Origin(client or f"{UNCLEAR} behind {_shown(peer or 'local')}")

    def _passed(self, forwarded: bytes) -> list[str | None]:
        """List the entries from the right, up to the first that is no trusted proxy; it is last."""
        found = []
        for entry in reversed(forwarded.split(b",")):
            text = _bare(entry)
            found.append(_shown_or_none(text))
            if found[-1] is None or not self.is_proxy(text):
                break
        return found


def end_of(values: Sequence[bytes] | None) -> bytes:
    """The end of a header's value; several lines are one list (RFC 9110, 5.2)."""
    if not values:
        return b""
    whole = values[0] if len(values) == 1 else b",".join(values)
    if len(whole) <= MOST_READ:
        return whole
    _, comma, entries = whole[-MOST_READ:].partition(b",")
    return _LEFT_OUT + comma + entries


def entries_of(header: bytes) -> list[str]:
    """List the addresses in a header, from left to right; `UNCLEAR` for what is none."""
    read = [_read(_bare(entry)) for entry in header.split(b",")] if header else []
    return [str(known.address) if known else UNCLEAR for known in read]


def _bare(entry: bytes) -> str:
    """Take brackets and the port off an entry.

    Such as `203.0.113.7`, `203.0.113.7:5678` or `[2001:db8::1]:5678`.
    """
    text = entry.decode("latin-1").strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _read(text: str) -> _Known | None:
    """Read an address; None for what is none."""
    text = text.partition("%")[0]
    return _parsed(text) if len(text) <= MOST_ADDRESS else None


@lru_cache(REMEMBERED)
def _parsed(text: str) -> _Known | None:
    # A client's address stands in several places of a request, and to read it once takes as long
    # as all of a head. The texts are clients' own: so many, and so long, at the most.
    try:
        return _Known(IPv4Address(inet_pton(AF_INET, text)), text)
    except (OSError, ValueError):
        pass
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            network = IPv6Address(int(address) >> 128 - PREFIX << 128 - PREFIX)
            return _Known(address, f"{network}/{PREFIX}")
        address = address.ipv4_mapped
    return _Known(address, str(address))


def _shown_or_none(text: str) -> str | None:
    known = _read(text)
    return known.shown if known else None


def _shown(text: str) -> str:
    """Write an address as what tells one client from another; what is none, as it is."""
    return _shown_or_none(text) or text
