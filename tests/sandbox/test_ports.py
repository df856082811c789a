"""Ports that are taken are named, and others are used."""

import socket

from lotus_guard.sandbox.ports import Ports, any_free, is_free


def test_the_usual_ports_are_used_where_they_are_free() -> None:
    ports = Ports(lambda _port: True, lambda: 1)
    assert ports.port(8171, "LiveKit") == 8171
    assert ports.endpoint(8070, "the guard", "LOTUS_GUARD_LISTEN") == (
        "tcp:8070:interface=127.0.0.1"
    )
    assert ports.taken == []


def test_one_that_is_taken_is_named_with_what_to_do() -> None:
    ports = Ports(lambda port: port != 8070, lambda: 45_678)
    assert ports.endpoint(8070, "the guard", "LOTUS_GUARD_LISTEN") == (
        "tcp:45678:interface=127.0.0.1"
    )
    assert ports.port(8171, "LiveKit") == 8171
    (said,) = ports.taken
    assert said == (
        "Port 8070 is taken: the guard is on port 45678 instead. "
        "To choose one yourself, stop what is there or set LOTUS_GUARD_LISTEN."
    )


def test_a_port_on_which_somebody_listens_is_not_free() -> None:
    with socket.socket() as server:
        server.bind(("", 0))  # on all addresses, as lk-jwt-service does by itself
        server.listen()
        assert not is_free(server.getsockname()[1])
    assert is_free(any_free())
