"""The one function that takes rights away. The token path and the live loop both use it.

Its laws are property tests (tests/properties/test_narrow.py): it never grants, doing it twice
changes nothing, the order of policies does not matter, a microphone that was there stays, and
publishing is turned off rather than an empty list left, because an empty list means *everything*.
"""

from collections.abc import Set as AbstractSet

from lotus_guard.core.model import Grant, Source

EVERY_SOURCE: tuple[str, ...] = tuple(source.value for source in Source)


def narrow(grant: Grant, forbidden: AbstractSet[Source]) -> Grant:
    """Take the forbidden sources out of a grant.

    Returns the very same grant where there is nothing to take. Names that we do not know stay:
    what they mean is LiveKit's business.
    """
    if not forbidden or not grant.can_publish:
        return grant
    before = grant.sources or EVERY_SOURCE
    kept = tuple(name for name in before if name.lower() not in forbidden)
    if not kept:
        return Grant(can_publish=False, sources=())
    if kept == grant.sources:
        return grant
    return Grant(can_publish=True, sources=kept)
