"""Which client a request comes from, as far as that can be known behind a proxy.

A header is believed only from a trusted proxy, and of `X-Forwarded-For` only the right-most entry:
the proxy itself wrote it, what is left of it anybody may have. A proxy that sets one of the two
headers hands a client's own copy of the other one on: where the two disagree, one of them is a
client's invention, and all such requests count as one client.
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
"""Of an IPv6 address so many bits tell one client from another: the rest is his to choose."""
REMEMBERED = 8192


class Origin(NamedTuple):
    """A client's address."""

    address: str
    is_crowd: bool = False
    """Whether it is the address of a proxy that does not say for whom it asks: of many clients."""


def networks_of(text: str) -> tuple[Network, ...]:
    """Read networks with commas between them, and the words in `NAMED`; raises ValueError."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    return tuple(ip_network(each) for word in words for each in NAMED.get(word, (word,)))


class Origins:
    """Tells origins; what was told lately is remembered, for reading addresses takes time."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)
        self.of = lru_cache(REMEMBERED)(self._of)
        self.is_proxy = lru_cache(REMEMBERED)(self._is_proxy)

    def _is_proxy(self, peer: str | None) -> bool:
        """Tell whether a peer may say for whom it asks; one without an address is a local one."""
        address = _read(peer) if peer else None
        return address is None or any(
            address in network for network in self._trusted if network.version == address.version
        )

    def _of(self, peer: str | None, real: bytes | None, forwarded: bytes | None) -> Origin:
        """Tell the origin; `real` and `forwarded` are the last values of the two headers."""
        if not self.is_proxy(peer):
            return Origin(_shown(peer or ""))
        proxy = _shown(peer or "local")
        named = {_named(value.rpartition(b",")[2]) for value in (real, forwarded) if value}
        if not named:
            return Origin(proxy, is_crowd=True)
        if len(named) > 1 or None in named:
            return Origin(f"{UNCLEAR} behind {proxy}")
        return Origin(str(named.pop()))


def last_of(values: Sequence[bytes] | None) -> bytes | None:
    """Give the last of a header's lines."""
    return values[-1] if values else None


def _named(entry: bytes) -> str | None:
    """Read an entry such as `203.0.113.7`, `203.0.113.7:5678` or `[2001:db8::1]:5678`."""
    text = entry.decode("latin-1").strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = _read(text)
    return _shown(str(address)) if address else None


def _read(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _shown(text: str) -> str:
    """Write an address as what tells one client from another."""
    address = _read(text)
    if address is None or address.version == 4:
        return str(address or text)
    return str(IPv6Network((int(address), PREFIX), strict=False))
