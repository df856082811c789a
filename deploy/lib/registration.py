"""The line of a registration that says where the homeserver hands requests on (`proxy_url`).

The standard library reads no YAML. So this one line is read strictly, as people and generators
write it, and what could mean something else is refused. The rest stays byte for byte, and nothing
of it is ever shown: it holds secrets.
"""

import re
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deploy.lib import files
from deploy.lib.host import Host

KEY = "io.element.msc4512.proxy_url"
_KEY = re.escape(KEY.encode())
_URL = rb"https?://[\w.:\[\]/~-]+"
_LINE = re.compile(
    rb"(?P<before>(?P<mark>[\"']?)" + _KEY + rb"(?P=mark)[ \t]*:[ \t]+(?P<quote>[\"']?))"
    rb"(?P<url>" + _URL + rb")(?P<after>(?P=quote)(?:[ \t]+#.*|[ \t]*))"
)
_COMMENT = re.compile(rb"[ \t]*(#.*)?")
LOOPBACK = ("localhost", "::1", "::", "0.0.0.0")  # noqa: S104  (names, nothing is bound)


class Unclear(Exception):
    """The registration cannot be read for certain; says why."""


@dataclass(frozen=True)
class Way:
    """Where the homeserver hands requests on, and the line that says so."""

    line: bytes
    """Without its end."""

    @property
    def url(self) -> str:
        """The address."""
        return self._part("url").decode("ascii", "replace")

    @property
    def host(self) -> str:
        """Its host, without the brackets of IPv6."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Its port."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine finds itself there."""
        return self.host in LOOPBACK or self.host.startswith("127.")

    def led_to(self, base: str) -> bytes:
        """Return the line with another scheme, host and port."""
        path = urlsplit(self.url).path
        return self._part("before") + base.encode() + path.encode() + self._part("after")

    def with_port(self, port: int) -> bytes:
        """Return the line with another port, the host as it is spelled."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.led_to(f"{urlsplit(self.url).scheme}://{host}:{port}")

    def _part(self, name: str) -> bytes:
        match = _LINE.fullmatch(self.line)
        assert match is not None, "made from a line that matches"
        return match[name]


def read_way(text: bytes) -> Way | None:
    """Find the line; None where there is none. Raises Unclear."""
    lines = [line.rstrip(b"\r") for line in text.split(b"\n")]
    named = [n for n, line in enumerate(lines) if KEY.encode() in line and not _is_comment(line)]
    if not named:
        return None
    if len(named) > 1:
        raise Unclear(f"{KEY} appears {len(named)} times")
    line = lines[named[0]]
    if not _LINE.fullmatch(line) or _goes_on(lines[named[0] + 1 :]):
        raise Unclear(f"no line of its own says `{KEY}: http://host:port`")
    way = Way(line)
    try:
        _ = way.host, way.port
    except ValueError:
        raise Unclear(f"{KEY} is not an address") from None
    return way


def _is_comment(line: bytes) -> bool:
    return _COMMENT.fullmatch(line) is not None


def _goes_on(lines: list[bytes]) -> bool:
    """Return whether YAML would take what follows a line for a part of it."""
    following = next((line for line in lines if not _is_comment(line)), b"")
    return following.startswith((b" ", b"\t"))


def replace_line(path: Path, old: bytes, new: bytes) -> None:
    """Put one line in the place of another; all else stays, owner and mode too. Raises Unclear."""
    lines = path.read_bytes().split(b"\n")
    places = [n for n, line in enumerate(lines) if line.rstrip(b"\r") == old]
    if len(places) != 1:
        raise Unclear("it was changed meanwhile")
    end = b"\r" if lines[places[0]].endswith(b"\r") else b""
    lines[places[0]] = new + end
    files.rewrite(path, b"\n".join(lines), 0o640)


def is_ours(host: str) -> bool:
    """Return whether a host is an address of this machine."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(_can_bind(family, address[:2]) for family, _, _, _, address in found)


def _can_bind(family: int, address: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((address[0], 0))
    except OSError:
        return False
    return True


def record(host: Host) -> Path:
    """Where deploy/revert reads what to put back.

    Three lines: the registration's path, the line to put back, the line that we have written.
    No copy of the whole: it would hold secrets, and undo what others have changed since.
    """
    return host.environment_file.with_name("proxy_url")


def write_record(host: Host, path: Path, back: bytes, now: bytes) -> None:
    """Write down what deploy/revert puts back."""
    files.write(record(host), b"\n".join((str(path).encode(), back, now, b"")), 0o600)


def is_recorded(host: Host, path: Path, now: bytes) -> bool:
    """Return whether deploy/revert would find that line in that file."""
    lines = (files.read(record(host)) or b"").split(b"\n")
    return len(lines) > 2 and (lines[0], lines[2]) == (str(path).encode(), now)
