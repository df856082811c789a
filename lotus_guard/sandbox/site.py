"""How the sandbox's services listen."""

from twisted.web.resource import IResource

from lotus_guard.overload.http_limits import BoundedRequest, QuietSite

MOST_BODY = 8 * 1024 * 1024
"""Bytes of a body that lk-jwt-service reads."""


def sandbox_site(resource: IResource) -> QuietSite:
    """Make a server that takes bodies as long as upstream does."""
    return QuietSite(
        resource, bounds=lambda _target, _headers: MOST_BODY, requestFactory=BoundedRequest
    )
