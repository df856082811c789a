"""As which user an application service asks the sandbox's homeserver.

It names them in `user_id` (docs/facts.md, Any homeserver: who may ask what about a room).
"""

import re

from attrs import frozen

from lotus_guard.sandbox.matrix_error import MatrixError
from lotus_guard.sandbox.temper import Temper


@frozen
class ApplicationService:
    """What its registration says."""

    as_token: str
    sender: str
    """The user id that is its own."""
    users: str
    """A regex of the users as whom it may act, which is looked for at the beginning of an id."""


def acting_user(
    service: ApplicationService, named: str | None, temper: Temper, accounts: frozenset[str]
) -> str:
    """The user as whom a service asks; `named` is None where it names nobody.

    `accounts` are the homeserver's users. Raises MatrixError where it may not act as them.
    """
    if named is None or named == service.sender:
        return service.sender
    if temper.has_dendrites_ways and named == "":
        return service.sender
    server = service.sender.partition(":")[2]
    if temper.has_dendrites_ways and named.startswith("@") and named.partition(":")[2] != server:
        raise MatrixError(401, "M_UNKNOWN_TOKEN", "Unknown token")
    if not re.match(service.users, named):
        text = f"Application service cannot masquerade as this user ({named})."
        raise MatrixError(*temper.refusals.not_named, text)
    if temper.users_must_exist and named not in accounts:
        text = f"Application service has not registered this user ({named})"
        raise MatrixError(*temper.refusals.not_named, text)
    return named
