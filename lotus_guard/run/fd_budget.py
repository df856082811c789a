"""How many connections and requests may be open at once: the kernel bounds our files."""

import resource

from attrs import frozen

from lotus_guard.overload.connections import MOST_CONNECTIONS
from lotus_guard.overload.load_shedding import REQUESTS

FILES = 20_000
"""Open files that we have a use for."""


@frozen
class FdBudget:
    """How much a process may have open at once; half of a request's files are upstream's."""

    connections: int = MOST_CONNECTIONS
    """Of clients, on the public port."""
    requests: int = REQUESTS
    """Of theirs that are under way."""


def fd_budget(files: int) -> FdBudget:
    """Share out so many files: of them, clients' connections get half, upstream's an eighth.

    What is left is for Synapse, LiveKit, the state file and the log: a flood of connections must
    not leave the guard without a file to ask upstream by.
    """
    return FdBudget(min(MOST_CONNECTIONS, files // 2), min(REQUESTS, files // 8))


def most_files() -> int:
    """Raise our bound on open files as far as we need and may; gives what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = FILES
    if soft == resource.RLIM_INFINITY or soft >= FILES:
        return FILES
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(FILES, hard)), hard))
    except (OSError, ValueError):
        return soft
    return max(soft, min(FILES, hard))
