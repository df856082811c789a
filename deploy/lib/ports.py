"""Who listens on this machine, as /proc tells it: no other program has to be there for that."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

IP = IPv4Address | IPv6Address
_LISTENS = "0A"
_ENGINES = re.compile(r"docker|rootless(kit|port)|podman|conmon|containerd|libpod|crio|kubepods")
"""What container engines call their processes and control groups.

docker-proxy and rootlesskit listen for a container that has a network of its own. With the host's
network the service itself listens, and its control group has the engine's name.
"""


@dataclass(frozen=True)
class Listener:
    """A process that listens, or as much of it as this user may see."""

    address: IP
    port: int
    program: str = ""
    """Empty where the process is another user's, and only root may look."""
    pid: int = 0
    is_container: bool = False

    def is_in_the_way_of(self, address: IP) -> bool:
        """Return whether nobody else can listen on that address and the same port."""
        return self.address == address or self.address.is_unspecified or address.is_unspecified

    def __str__(self) -> str:
        if not self.program:
            return "another user's process"
        # A process chooses its own name, and this is for root's terminal.
        shown = self.program if self.program.isprintable() else ascii(self.program)
        return f"{shown} (pid {self.pid})"


@dataclass(frozen=True)
class Ports:
    """All listening TCP sockets, read once."""

    proc: Path = Path("/proc")

    def on(self, port: int, address: IP) -> Listener | None:
        """Return who is in the way of listening there; None where nobody is."""
        found = [each for each in self._all if each.port == port]
        return next((each for each in found if each.is_in_the_way_of(address)), None)

    @cached_property
    def _all(self) -> list[Listener]:
        sockets = [*self._sockets("tcp"), *self._sockets("tcp6")]
        owners = self._owners({inode for _, _, inode in sockets})
        return [self._listener(ip, port, owners.get(inode, 0)) for ip, port, inode in sockets]

    def _sockets(self, table: str) -> Iterator[tuple[IP, int, str]]:
        """Read proc(5)'s /proc/net/tcp: local address and port, state, and inode."""
        try:
            lines = (self.proc / "net" / table).read_text().splitlines()[1:]
        except OSError:  # a kernel without IPv6
            return
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENS:
                address, _, port = fields[1].partition(":")
                yield _address(address), int(port, 16), fields[9]

    def _owners(self, inodes: set[str]) -> dict[str, int]:
        """Find the first process that has each socket open."""
        found: dict[str, int] = {}
        for process in sorted(self.proc.glob("[0-9]*"), key=lambda path: int(path.name)):
            with suppress(OSError):  # it has ended meanwhile, or is another user's
                for handle in (process / "fd").iterdir():
                    with suppress(OSError):
                        inode = str(handle.readlink()).removeprefix("socket:[").removesuffix("]")
                        if inode in inodes:
                            found.setdefault(inode, int(process.name))
        return found

    def _listener(self, address: IP, port: int, pid: int) -> Listener:
        if not pid:
            return Listener(address, port)
        program = self._text(pid, "comm")
        is_container = bool(_ENGINES.search(program)) or self._is_contained(pid)
        return Listener(address, port, program, pid, is_container)

    def _is_contained(self, pid: int) -> bool:
        """Return whether a process is in a container and we are not: this may be one as a whole."""
        is_ours, is_its = (_ENGINES.search(self._text(who, "cgroup")) for who in ("self", pid))
        return bool(is_its and not is_ours)

    def _text(self, process: int | str, name: str) -> str:
        try:
            return (self.proc / str(process) / name).read_text(errors="replace").strip()
        except OSError:
            return ""


def _address(text: str) -> IP:
    """Read an address as the kernel writes it: words of 32 bits, each in this machine's order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    found = ip_address(b"".join(words))
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
