"""What the endpoints of the settings say, and where their URLs lead, without asking anybody."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from attrs import frozen

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TCP = re.compile(r"tcp6?:(?:port=)?(\d+)(:.*)?")


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
    def is_private(self) -> bool:
        """Whether no stranger reaches it: it is this machine's alone, or a private network's."""
        try:
            is_private = self.is_loopback or ip_address(self.interface).is_private
        except ValueError:  # a name, or nothing
            return False
        return is_private and not self.is_everywhere  # 0.0.0.0 counts as private there

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
