"""What the endpoints and URLs of the configuration say, without asking anybody."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from attrs import frozen

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TCP = re.compile(r"tcp6?:(?:port=)?(\d+)(:.*)?")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
MOST_NAME = 253
"""Characters of a host name; RFC 1035 has it so, and 63 for each label."""

EXTRAS = "has a user name, a query or a fragment in it"


@frozen
class Listening:
    """A TCP port that the guard serves."""

    port: int
    interface: str
    """Empty for all of them."""

    @property
    def is_everywhere(self) -> bool:
        """Whether it is served on every address of the machine."""
        return self.interface in ("", "0.0.0.0", "::")  # noqa: S104

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.interface)

    @property
    def url(self) -> str:
        """Its URL, as this machine reaches it."""
        host = "127.0.0.1" if self.is_everywhere else self.interface
        return f"http://{bracketed(host)}:{self.port}"


def listening(endpoint: str) -> Listening | None:
    """Read a Twisted endpoint; None where it is no TCP port (`unix:`, `systemd:`)."""
    match = _TCP.fullmatch(endpoint)
    if match is None:
        return None
    interface = re.search(r":interface=((?:\\:|[^:])+)", match[2] or "")
    return Listening(int(match[1]), interface[1].replace("\\:", ":") if interface else "")


def shifted(endpoint: str, by: int) -> str:
    """The same endpoint, so many ports further on; empty where it is no TCP port."""
    match = _TCP.fullmatch(endpoint)
    if match is None:
        return ""
    return f"{endpoint[: match.start(1)]}{int(match[1]) + by}{endpoint[match.end(1) :]}"


def is_host(text: str) -> bool:
    """Whether a text is a host name without empty labels, or an IP address."""
    if ":" in text:  # urlsplit takes the brackets off
        try:
            return ip_address(text).version == 6
        except ValueError:
            return False
    return len(text) <= MOST_NAME and _NAME.fullmatch(text) is not None


def url_fault(url: str) -> str:
    """What is wrong with an http or https URL of a server; empty where it can be asked."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises ValueError for a port that is none)
    except ValueError:
        return "has a host or a port that is none"
    if parts.scheme not in ("http", "https"):
        return "does not begin with https:// or http://"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "contains what no URL contains (a host in other letters is written as xn--…)"
    if not is_host(parts.hostname or ""):
        return f"names no host: {parts.hostname!r} is none" if parts.hostname else "names no host"
    if parts.query or parts.fragment or parts.username or parts.password:
        return EXTRAS
    return ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine for itself only."""
    return host in LOOPBACK or host.startswith("127.")


def bracketed(host: str) -> str:
    """Write a host as URLs have it."""
    return f"[{host}]" if ":" in host else host


def host_and_port(url: str) -> tuple[str, int]:
    """The host and the port of an http or https URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def leads_to(url: str, own: Listening) -> bool:
    """Whether a URL on this machine is this very port."""
    try:
        host, port = host_and_port(url)
    except ValueError:
        return False
    if port != own.port:
        return False
    return is_loopback(host) if own.is_everywhere or own.is_loopback else host == own.interface
