"""The addresses at which others can reach this machine."""

import socket

from lotus_guard.run.address import is_loopback


def own_addresses() -> tuple[str, ...]:
    """Find this machine's addresses but for its loopback; sends nothing.

    The one that a packet to far away would leave from, for each family: connecting a UDP socket
    only asks the routing table.
    """
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((far, 9))
                found.append(str(sock.getsockname()[0]))
        except OSError:  # no such family here, or no way out
            continue
    return tuple(address for address in found if not is_loopback(address))
