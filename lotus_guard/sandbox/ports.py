"""Free ports for the sandbox: the usual ones, or where they are taken, others."""

import socket
from collections.abc import Callable

from attrs import define, field

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether nobody on this machine listens on a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Twisted listens
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def any_free() -> int:
    """A port that the system has to spare."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@define
class Ports:
    """Chooses ports, and keeps a sentence for each that was taken."""

    is_free: Callable[[int], bool] = is_free
    any_free: Callable[[], int] = any_free
    taken: list[str] = field(init=False, factory=list)

    def port(self, usual: int, whose: str, setting: str = "") -> int:
        """Choose a port; `whose` says what listens there, `setting` what it can be chosen by."""
        if self.is_free(usual):
            return usual
        port = self.any_free()
        hint = f" To choose one yourself, stop what is there or set {setting}." if setting else ""
        self.taken.append(f"Port {usual} is taken: {whose} is on port {port} instead.{hint}")
        return port

    def endpoint(self, usual: int, whose: str, setting: str) -> str:
        """The same as a Twisted endpoint that this machine alone can reach."""
        return f"tcp:{self.port(usual, whose, setting)}:interface={LOOPBACK}"
