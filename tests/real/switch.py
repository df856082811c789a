"""A way to a server on this machine that can be led to another one while both run."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attrs import define, field


@define(eq=False)
class Switch:
    """Listens on loopback and hands all bytes on to the port that it leads to."""

    _listener: socket.socket
    _target: int = 0
    _open: set[socket.socket] = field(factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def lead_to(self, port: int) -> None:
        """Lead to this port from now on; what is open ends, for its client would keep it."""
        self._target = port
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Hand on until the listener is closed."""
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            self._open |= {near, far}
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65_536):
                sink.sendall(part)
        self._open.discard(source)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        source.close()


@contextmanager
def a_switch() -> Iterator[Switch]:
    """Open a way that leads nowhere yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        switch = Switch(listener)
        threading.Thread(target=switch.serve, daemon=True).start()
        try:
            yield switch
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            switch.lead_to(0)
