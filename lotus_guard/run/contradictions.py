"""Settings that are valid each, and contradict each other."""

from collections.abc import Mapping
from typing import Any

from lotus_guard.enforce.credentials import fault_line
from lotus_guard.run.address import Listening, leads_to, listening, shifted
from lotus_guard.run.parsers import shown
from lotus_guard.run.setting import OUR_PREFIX

MOST_PORT = 65535
_LISTEN = f"{OUR_PREFIX}LISTEN"
_ADMIN_LISTEN = f"{OUR_PREFIX}ADMIN_LISTEN"
_HOMESERVER_LISTEN = f"{OUR_PREFIX}HOMESERVER_LISTEN"


def contradictions(values: Mapping[str, Any]) -> list[str]:
    """Write a line for each; `values` lacks the settings that are faulty already."""
    return [*_address_faults(values), *_worker_faults(values), *_transaction_faults(values)]


def _transaction_faults(values: Mapping[str, Any]) -> list[str]:
    """Find what transactions need: a port where they come in, and what they are believed by."""
    if not values.get("transactions"):
        return []
    faults, name = [], f"{OUR_PREFIX}TRANSACTIONS"
    if values.get("homeserver_listen") == "":
        faults.append(
            fault_line(name, "on, but has no port", f"{_HOMESERVER_LISTEN} to be set too")
        )
    credentials = values.get("credentials")
    if credentials is not None and not credentials.transactions.value:
        wanted = "LOTUS_GUARD_AS_REGISTRATION_FILE or LIVEKIT_AS_REGISTRATION_FILE to be set too"
        faults.append(fault_line(name, "on, but there is no hs_token", wanted))
    return faults


def _address_faults(values: Mapping[str, Any]) -> list[str]:
    """Find two listeners on one port, and an upstream that is the guard itself."""
    faults = []
    public = listening(values.get("listen", ""))
    homeserver = listening(values.get("homeserver_listen", ""))
    operators = _operators_ports(values)
    for name, own, others in (
        (_ADMIN_LISTEN, public, operators),
        (_HOMESERVER_LISTEN, homeserver, [*([public] if public else ()), *operators]),
    ):
        if own and own.port and any(each.port == own.port for each in others):
            found = f"another listener has port {own.port} too"
            faults.append(fault_line(name, found, "a port of its own"))
    if operators and operators[-1].port > MOST_PORT:
        found = f"worker {len(operators) - 1} would have port {operators[-1].port}"
        faults.append(
            fault_line(_ADMIN_LISTEN, found, f"a port that keeps all of them up to {MOST_PORT}")
        )
    upstream = values.get("upstream", "")
    for name, served in (
        (_LISTEN, [public]),
        (_HOMESERVER_LISTEN, [homeserver]),
        (_ADMIN_LISTEN, operators),
    ):
        if upstream and any(own and leads_to(upstream, own) for own in served):
            found = f"{shown(upstream)} is the guard itself ({name})"
            wanted = "lk-jwt-service's address, and another port for the guard"
            faults.append(fault_line(f"{OUR_PREFIX}UPSTREAM", found, wanted))
    return faults


def _operators_ports(values: Mapping[str, Any]) -> list[Listening]:
    """Where the operators' port of each worker is."""
    endpoints = (
        shifted(values.get("admin_listen", ""), number)
        for number in range(values.get("workers", 1))
    )
    return [found for found in map(listening, endpoints) if found is not None]


def _worker_faults(values: Mapping[str, Any]) -> list[str]:
    """Find what several workers cannot share."""
    workers = values.get("workers", 1)
    if workers == 1:
        return []
    faults = []
    if values.get("redis", ...) is None:
        found = f"{workers} workers, but they can't share a state file"
        faults.append(
            fault_line(
                f"{OUR_PREFIX}WORKERS",
                found,
                "LOTUS_GUARD_STATE=redis://… to be set too, or 1 worker",
            )
        )
    shared = {_LISTEN: values.get("listen", "tcp:1")}
    if values.get("homeserver_listen"):
        shared[_HOMESERVER_LISTEN] = values["homeserver_listen"]
    for name, wanted in shared.items():
        own = listening(wanted)
        if own is None or not own.port:
            found = f"{workers} workers can't share {shown(wanted)}"
            faults.append(fault_line(name, found, "tcp:<port>"))
    return faults
