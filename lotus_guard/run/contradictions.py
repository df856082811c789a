"""Settings that are fine each and cannot be together."""

from collections.abc import Mapping
from typing import Any

from lotus_guard.enforce.credentials import fault_line
from lotus_guard.run.address import leads_to, listening
from lotus_guard.run.parsers import shown
from lotus_guard.run.setting import OUR_PREFIX


def contradictions(values: Mapping[str, Any]) -> list[str]:
    """Write a line for each; `values` lacks the settings that are faulty already."""
    return [*_address_faults(values), *_worker_faults(values)]


def _address_faults(values: Mapping[str, Any]) -> list[str]:
    """Find two listeners on one port, and an upstream that is the guard itself."""
    faults = []
    public = listening(values.get("listen", ""))
    operators = listening(values.get("admin_listen", ""))
    if public and operators and public.port == operators.port and public.port:
        found = f"both listeners have port {public.port}"
        faults.append(fault_line(f"{OUR_PREFIX}ADMIN_LISTEN", found, "a port of its own"))
    upstream = values.get("upstream", "")
    for own in (public, operators):
        if own and upstream and leads_to(upstream, own):
            found = f"{shown(upstream)} is the guard itself"
            faults.append(fault_line(f"{OUR_PREFIX}UPSTREAM", found, "lk-jwt-service's address"))
    return faults


def _worker_faults(values: Mapping[str, Any]) -> list[str]:
    """Find what several workers cannot share."""
    workers = values.get("workers", 1)
    if workers == 1:
        return []
    faults = []
    if values.get("redis", ...) is None:
        found = f"{workers} workers, and a state that they cannot share"
        faults.append(
            fault_line(f"{OUR_PREFIX}WORKERS", found, "LOTUS_GUARD_STATE=redis://… with it, or 1")
        )
    own = listening(values.get("listen", "tcp:1"))
    if own is None or not own.port:
        found = f"{shown(values['listen'])} is no port that {workers} workers can share"
        faults.append(fault_line(f"{OUR_PREFIX}LISTEN", found, "tcp:<port>"))
    return faults
